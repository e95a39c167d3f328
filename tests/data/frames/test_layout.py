import pytest

from nas_mer.data.dataset import CLASSES
from nas_mer.data.frames.layout import LAYOUTS, Layout, load_layout
from nas_mer.errors import UserError

SHIPPED = sorted(path.stem for path in LAYOUTS.glob("*.yaml"))

MINE = """\
database: mine
title: Our laboratory
rate: 120
subject: P001
clip: take\\d+
forms:
  all: {path: "{subject}/{clip}/img{frame}", cropped: true}
annotation: [codes*]
columns: {subject: [Who], clip: [Take], onset: [Begin], offset: [End], emotion: [Mood]}
classes: {positive: [joy]}
"""


def load(folder, text):
    file = folder / "mine.yaml"
    file.write_text(text)
    return load_layout(file)


@pytest.mark.parametrize("name", SHIPPED)
class TestShipped:
    def test_is_called_as_its_database(self, name):
        assert load_layout(name).database == name

    def test_classes(self, name):
        layout = load_layout(name)
        assert list(layout.classes) == list(CLASSES)
        assert set(layout.emotions.values()) - {None} == set(CLASSES)
        assert all(emotion == emotion.lower() for emotion in layout.emotions)

    def test_names_in_errata_are_spelt_as_in_the_manifest(self, name):
        layout = load_layout(name)
        for clip in (*layout.left_out, *layout.corrections):
            subject, own = clip.split("/")
            assert layout.subject_of(subject) == subject
            assert layout.clip_of(subject, own) == own
            assert layout.clip.fullmatch(own)

    def test_subjects(self, name):
        layout = load_layout(name)
        prefix = layout.subject.rstrip("01")
        for number in (1, 9, 10, 123):
            spelled = layout.subject_of(str(number))
            assert spelled.startswith(prefix)
            assert int(spelled.removeprefix(prefix)) == number
            for written in (spelled, f" {spelled.upper()} ", f"0{number}", f"{prefix}{number}", f"{prefix}00{number}"):
                assert layout.subject_of(written) == spelled
        for wrong in ("", "x1", f"{prefix}", f"{prefix}1a", "1.5"):
            assert layout.subject_of(wrong) is None


def test_all_are_there():
    assert SHIPPED == ["casme2", "casme3a", "mmew", "samm", "smic"]


def test_unknown_layout():
    with pytest.raises(UserError, match="no layout is called so; did you mean 'casme2'"):
        load_layout("casme")


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"mine\.yaml: no such file"):
        load_layout(tmp_path / "mine.yaml")


class TestOwn:
    def test_is_read(self, tmp_path):
        layout = load(tmp_path, MINE)
        assert isinstance(layout, Layout)
        assert layout.rate == 120
        assert layout.spot
        assert layout.columns.spellings().keys() == {"subject", "clip", "onset", "offset", "emotion"}
        assert layout.optional == ()

    @pytest.mark.parametrize(
        ("old", "new", "place", "message"),
        [
            ("rate: 120", "rate: 0", 3, "rate: Input should be greater than 0"),
            ("rate: 120", "rates: 120", 3, "rates: unknown key 'rates'; did you mean 'rate'?"),
            ("subject: P001", "subject: P002", 4, "subject: String should match pattern"),
            ("clip: take\\d+", "clip: take(", 5, "clip: Input should be a valid regular expression"),
            ("cropped: true}", "croped: true}", 7, "unknown key 'croped'; did you mean 'cropped'?"),
            ("clip: take\\d+", "clip: (?i)take\\d+", 5, "clip: must do without named groups, back-references"),
            ("clip: take\\d+", "clip: take(?P<subject>\\d+)", 5, "clip: must do without named groups, back-"),
            ("clip: take\\d+", "clip: take(\\d)\\1", 5, "clip: must do without named groups, back-references"),
            ("clip: take\\d+", "clip: (a)?take(?(1)\\d|x)", 5, "clip: must do without named groups, back-references"),
            ("{clip}/img", "{clip}-{clip}/img", 7, "path: a name may have a placeholder only once, but {clip} in"),
            ("img{frame}", "{frame}_{frame}", 7, "only once, but {frame} in {frame}_{frame} stands twice"),
            ("{clip}/img", "{clop}/img", 7, "unknown placeholder {clop}; did you mean '{clip}'?"),
            ("img{frame}", "img", 7, "must have {clip} in a folder and end with {frame}"),
            ("/{clip}/img{frame}", "/{clip}{frame}", 7, "must have {clip} in a folder and end with {frame}"),
            ("onset: [Begin], ", "", 9, "columns: the key 'onset' is missing"),
            ("onset: [Begin]", "onset: []", 9, "columns.onset: Tuple should have at least 1 item"),
            (", emotion: [Mood]", "", 1, "nothing tells a clip's emotion"),
            ("positive: [joy]", "happy: [joy]", 10, "'negative', 'positive' or 'surprise'"),
            ("[joy]", "[joy, Joy]", 1, "an emotion has one class, but there more than once: joy"),
            ("classes:", "codes: {jo: joi}\nclasses:", 1, "codes: emotions in neither classes nor unclassified: joi"),
            ("classes:", "sample: '{onset}'\nclasses:", 10, "sample: must hold {clip}"),
            ("classes:", "corrections: {P001/take1: {cells: {}, because: x}}\nclasses:", 10, "at least 1 item"),
            ("classes:", "corrections: {P001/take1: {cells: {apex: 3}}}\nclasses:", 10, "'because' is missing"),
            ("title: Our laboratory", "title: ''", 2, "title: String should have at least 1 character"),
        ],
    )
    def test_mistakes_name_file_line_and_key(self, tmp_path, old, new, place, message):
        assert old in MINE
        with pytest.raises(UserError) as error:
            load(tmp_path, MINE.replace(old, new))
        assert message in str(error.value)
        assert f"{tmp_path / 'mine.yaml'}:{place}: " in str(error.value)

    def test_what_looks_like_a_back_reference(self, tmp_path):
        own = load(tmp_path, MINE.replace("take\\d+", r"take\\1\(?(?:a|b)"))
        assert own.clip.fullmatch(r"take\1(a")
        assert own.components(own.forms["all"])

    def test_a_corrected_number_may_be_a_number(self, tmp_path):
        text = "corrections: {P001/take1: {cells: {apex: 13}, because: it was seen}}\n"
        assert load(tmp_path, MINE + text).corrections["P001/take1"].cells == {"apex": "13"}

    def test_emotion_is_optional_where_every_path_tells_it(self, tmp_path):
        told = MINE.replace("{subject}/", "{emotion}/")
        assert load(tmp_path, told).optional == ("emotion",)
        more = told.replace("forms:", "forms:\n  other: {path: '{clip}/{frame}', cropped: true}")
        assert load(tmp_path, more).optional == ()


class TestNames:
    def test_a_clip_that_begins_with_its_subject(self):
        smic = load_layout("smic")
        assert smic.clip_of("s01", "s1_ne_01") == "s01_ne_01"
        assert smic.clip_of("s01", "s11_ne_01") == "s11_ne_01"
        assert smic.code_of("s01_SUR_01") == "surprise"
        assert load_layout("mmew").clip_of("S03", "S3-01-002") == "S03-01-002"
        assert load_layout("casme2").clip_of("sub02", "EP02_01f") == "EP02_01f"
        assert load_layout("casme2").code_of("EP02_01f") is None

    def test_a_bare_number_before_a_clips_is_no_subject(self, tmp_path):
        own = load(tmp_path, MINE)
        assert own.clip_of("P001", "1_2") == "1_2"
        assert own.clip_of("P001", "p01_2") == "P001_2"
        assert load_layout("samm").clip_of("006", "6_1_2") == "006_1_2"

    def test_the_frames_number_is_the_last_run_of_digits(self):
        layout = load_layout("samm")
        *_, file = layout.components(layout.forms["raw"])
        assert file.fullmatch("006_05562.jpg")["frame"] == "05562"
        assert file.fullmatch("006-2_12_0007.PNG")["frame"] == "0007"
        for wrong in ("006_05562.txt", "006_x.jpg", "006_12 (1).jpg"):
            assert file.fullmatch(wrong) is None


def test_the_guides_example(tmp_path, request):
    guide = (request.config.rootpath / "docs" / "frames.md").read_text(encoding="utf-8")
    layout = load(tmp_path, guide.split("```yaml\n")[1].split("```")[0])
    assert layout.database == "mylab"
    assert layout.columns.apex is None
