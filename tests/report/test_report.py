import json
import re
from xml.etree import ElementTree

import pytest
from playwright.sync_api import expect

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.report import write_report
from nas_mer.runs import Compute, history, retrain, search, space_of
from nas_mer.space import SearchSpace
from nas_mer.view import decidedness

ALONE = Compute(workers=1)


class TestFile:
    def test_it_needs_nothing_else(self, written):
        text = written.read_text()
        assert not re.search(r'(src|href)="(?!#|data:)', text)
        assert "@import" not in text
        assert "url(http" not in text

    def test_another_suffix(self, searched, tmp_path):
        with pytest.raises(UserError, match=r"r\.pdf: reports are written as \.html, found '\.pdf'"):
            write_report([searched], tmp_path / "r.pdf")

    def test_a_run_twice(self, searched, tmp_path):
        with pytest.raises(UserError, match="a run is given twice"):
            write_report([searched, searched], tmp_path / "r.html")

    def test_nothing_is_left_if_it_fails(self, searched, tmp_path, monkeypatch):
        (tmp_path / "r.html").write_text("before")
        monkeypatch.setattr("nas_mer.report.page", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report([searched], tmp_path / "r.html")
        assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("r.html", "before")]


class TestPage:
    def test_it_tells_of_both_runs(self, opened, written):
        page = opened(written)
        headings = page.locator("h2").all_inner_texts()
        assert headings[0] == "What came out"
        assert headings[-1] == "How to repeat it"
        links = page.locator("nav a")
        assert [link.get_attribute("href") for link in links.all()] == [
            f"#{heading.get_attribute('id')}" for heading in page.locator("h2").all()
        ]
        assert page.locator(".missing", has_text="is in this report").count() == 0

    def test_the_slider_moves_the_graph(self, opened, written, searched):
        page = opened(written)
        found = history(searched).weights()
        decisions = space_of(searched).decisions
        slider = page.locator(".replay input")
        for epoch in (1, 3, 2):
            slider.fill(str(epoch))
            assert page.locator(".replay output").inner_text() == f"{epoch} of 3"
            texts = page.locator(".replay svg text").all_text_contents()
            for name, values in found.items():
                weights = values[:, epoch - 1].mean(axis=0)
                assert f"{decidedness(weights):.0%} decided" in texts
                for option, weight in zip(decisions[name], weights, strict=True):
                    assert any(text.endswith(f"{weight:.2f}".removeprefix("0")) for text in texts), (name, option)

    def test_it_replays_by_itself_and_by_keys(self, opened, written):
        page = opened(written)
        page.locator(".play").focus()
        page.keyboard.press("Enter")
        assert page.locator(".play").get_attribute("aria-pressed") == "true"
        expect(page.locator(".play")).to_have_attribute("aria-pressed", "false")
        assert page.locator(".replay output").inner_text() == "3 of 3"
        page.locator(".replay input").focus()
        page.keyboard.press("ArrowLeft")
        assert page.locator(".replay output").inner_text() == "2 of 3"

    def test_tables_sort_by_keys(self, opened, written):
        page = opened(written)
        table = page.locator("table", has_text="UAR and UF1 of the composite")
        heading = table.locator("thead th").nth(2)

        def column():
            return [float(row.locator("th, td").nth(2).inner_text()) for row in table.locator("tbody tr").all()]

        before = column()
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        assert column() == sorted(before)
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert column() == sorted(before, reverse=True)
        assert table.locator("[aria-sort]").count() == 1

    @pytest.mark.parametrize("kind", ["svg", "png"])
    def test_figures_are_saved(self, opened, written, kind):
        page = opened(written)
        with page.expect_download() as download:
            page.locator(f".replay [data-save={kind}]").click()
        assert download.value.suggested_filename == f"searched-weights.{kind}"
        content = download.value.path().read_bytes()
        if kind == "svg":
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        else:
            assert content.startswith(b"\x89PNG")

    def test_a_narrow_screen(self, opened, written):
        page = opened(written, viewport={"width": 360, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

    def test_light_and_dark(self, opened, written):
        def ground(scheme):
            page = opened(written, color_scheme=scheme)
            return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

        assert ground("light") == "rgb(255, 255, 255)"
        assert max(map(int, re.findall(r"\d+", ground("dark")))) < 50

    def test_what_is_folded_is_printed(self, opened, written):
        page = opened(written)
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0

    def test_a_screen_reader_is_told_what_things_are(self, opened, written):
        page = opened(written)
        assert page.locator("h1").count() == 1
        for figure in page.locator("figure svg").all():
            title = figure.get_attribute("aria-labelledby")
            assert page.locator(f"[id='{title}']").text_content()
        assert page.locator("figure svg").count() == page.locator("figure svg[role=img]").count() > 3
        assert all(caption.text_content() for caption in page.locator("table caption").all())
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button')].filter(b => !(b.ariaLabel || b.textContent.trim())).length"
        )
        assert unnamed == 0


HOSTILE = "</script><img src=x onerror='window.hacked=1'>\"'"


class TestHostileNames:
    def test_they_do_nothing(self, opened, made, search_recipe, recipe, tmp_path):
        subjects = [("alpha", f"<b onclick=alert(1)>{n}") for n in range(2)] + [("beta", f"${{{n}}}") for n in range(2)]
        subjects = [(database, subject.replace("/", "")) for database, subject in subjects]
        dataset = made(subjects)
        Dataset(HOSTILE, dataset.maps, dataset.samples).save(tmp_path / "data")
        source = SearchSpace.load("rcn").source
        (tmp_path / "space.yaml").write_text(
            re.sub("(?m)^title: .*$", lambda _: f"title: {json.dumps(HOSTILE)}", source)
        )
        space = SearchSpace.load(tmp_path / "space.yaml", size=16, feature_maps=4, pool=2)
        assert space.title == HOSTILE
        searched = search(space, tmp_path / "data", search_recipe, tmp_path / "<i>run", compute=ALONE)
        named = [(space, genotype) for genotype in space.top(_equal(space), 2)]
        trained = retrain(named, tmp_path / "data", recipe, tmp_path / "trained", compute=ALONE)
        write_report([searched, trained], tmp_path / "r.html")
        page = opened(tmp_path / "r.html")
        page.locator(".replay input").fill("1")
        assert page.evaluate("window.hacked") is None
        assert page.locator("img, b, i").count() == 0
        assert HOSTILE in page.locator("h3").all_inner_texts()[0]


def _equal(space):
    return {name: dict.fromkeys(options, 1 / len(options)) for name, options in space.decisions.items()}
