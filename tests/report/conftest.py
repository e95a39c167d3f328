"""Runs to report on, and a browser to open reports in."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from nas_mer.report import write_report
from nas_mer.runs import Compute, retrain, search
from nas_mer.space import find_genotype, load_genotype

ALONE = Compute(workers=1)


@pytest.fixture(scope="session")
def searched(space, tiny, search_recipe, tmp_path_factory):
    """A search with two seeds."""
    return search(space, tiny, search_recipe, tmp_path_factory.mktemp("runs") / "searched", seeds=2, compute=ALONE)


@pytest.fixture(scope="session")
def retrained(searched, tiny, recipe, tmp_path_factory):
    """Its top 2 and RCN-F, with two seeds."""
    found = [load_genotype(searched.path / "genotypes" / f"top{rank}.yaml") for rank in (1, 2)]
    found.append((found[0][0], find_genotype("rcn-f")[1]))
    path = tmp_path_factory.mktemp("runs") / "retrained"
    return retrain(found, tiny, recipe, path, seeds=2, compute=ALONE)


@pytest.fixture(scope="session")
def written(searched, retrained, tmp_path_factory):
    """A report on both."""
    file = tmp_path_factory.mktemp("reports") / "report.html"
    write_report([searched, retrained], file)
    return file


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Open a report; in the end nothing may have been complained of, or asked for from elsewhere."""
    complaints = []
    pages = []

    def opened(file, **settings):
        page = chromium.new_page(**settings)
        pages.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith("http") and complaints.append(request.url))
        page.goto(file.as_uri())
        return page

    yield opened
    for page in pages:
        page.close()
    assert complaints == []
