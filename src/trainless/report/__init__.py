"""Reports: self-contained HTML pages, static figures and tables of studies, and the quickstart's page and picture."""

from trainless.report.figures import study_figures
from trainless.report.page import CAPTIONS, several_studies_page, study_page
from trainless.report.quickstart import quickstart_figure, quickstart_page
from trainless.report.style import FORMATS
from trainless.report.sweeps import sweep_figure
from trainless.report.text import latex_table, markdown_table

__all__ = [
    "CAPTIONS",
    "FORMATS",
    "latex_table",
    "markdown_table",
    "quickstart_figure",
    "quickstart_page",
    "several_studies_page",
    "study_figures",
    "study_page",
    "sweep_figure",
]
