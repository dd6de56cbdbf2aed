"""Reports of studies, searches, fits, replays and the quickstart: self-contained pages, static figures and tables."""

from trainless.report.cells import cell_figure
from trainless.report.figures import study_figures
from trainless.report.fit_figures import fit_figure
from trainless.report.fits import fit_page
from trainless.report.page import CAPTIONS, several_studies_page, study_page
from trainless.report.quickstart import quickstart_figure, quickstart_page
from trainless.report.replay_figures import replay_figure
from trainless.report.replays import replay_page
from trainless.report.search_figures import search_figure
from trainless.report.searches import search_page
from trainless.report.style import FORMATS
from trainless.report.sweeps import sweep_figure
from trainless.report.text import latex_table, markdown_table

__all__ = [
    "CAPTIONS",
    "FORMATS",
    "cell_figure",
    "fit_figure",
    "fit_page",
    "latex_table",
    "markdown_table",
    "quickstart_figure",
    "quickstart_page",
    "replay_figure",
    "replay_page",
    "search_figure",
    "search_page",
    "several_studies_page",
    "study_figures",
    "study_page",
    "sweep_figure",
]
