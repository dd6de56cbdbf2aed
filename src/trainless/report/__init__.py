"""Reports of studies, searches, fits, replays and the quickstart: self-contained pages, static figures and tables."""

from trainless.report.common.cells import cell_figure
from trainless.report.common.static import FORMATS
from trainless.report.common.text_tables import latex_table, markdown_table
from trainless.report.fit.figures import fit_figure
from trainless.report.fit.page import fit_page
from trainless.report.replay.figures import replay_figure
from trainless.report.replay.page import replay_page
from trainless.report.search.figures import search_figure
from trainless.report.search.page import search_page
from trainless.report.search.shares import shares_figure
from trainless.report.study.figures import study_figures
from trainless.report.study.page import CAPTIONS, study_page
from trainless.report.study.quickstart_figure import quickstart_figure
from trainless.report.study.quickstart_page import quickstart_page
from trainless.report.study.several import several_studies_page
from trainless.report.study.sweeps import sweep_figure
from trainless.report.suite.page import suite_page

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
    "shares_figure",
    "study_figures",
    "study_page",
    "suite_page",
    "sweep_figure",
]
