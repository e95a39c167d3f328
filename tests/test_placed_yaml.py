import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PositiveInt

from nas_mer.errors import UserError
from nas_mer.placed_yaml import describe, key_path, parse_yaml, read_yaml, write_yaml

# NEL is a line break to YAML 1.1, which PyYAML folds away wherever it writes it.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t"), max_size=12)
words = texts | st.sampled_from(
    ["no", "1e-3", "009", "010", "on", "~", "null", "", "<<", "1_0", "0x1F", "1:30", "1e5", ".5"]
)
scalars = words | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))


class TestDialect:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-3", 1e-3),
            ("5E4", 5e4),
            ("-.5", -0.5),
            ("1.", 1.0),
            ("-.inf", float("-inf")),
            ("12", 12),
            ("010", 10),
            ("009", 9),
            ("true", True),
            ("False", False),
            ("null", None),
            ("~", None),
            ("no", "no"),
            ("No", "No"),
            ("on", "on"),
            ("y", "y"),
            ("0x1F", "0x1F"),
            ("1_000", "1_000"),
            ("1:30", "1:30"),
            ("2020-01-01", "2020-01-01"),
            ("1.2.3", "1.2.3"),
            ("e5", "e5"),
            ("'1e-3'", "1e-3"),
            ('"true"', "true"),
        ],
    )
    def test_scalars(self, text, value):
        for read in (parse_yaml(f"a: {text}", "f").value["a"], next(iter(parse_yaml(f"{text}: a", "f").value))):
            assert read == value
            assert type(read) is type(value)

    def test_nothing(self):
        assert parse_yaml("", "f").value is None
        assert parse_yaml("a:", "f").value == {"a": None}
        assert parse_yaml("\ufeffa: 1", "f").value == {"a": 1}

    @given(values)
    @example("1e-3")
    @example({"009": "010"})
    def test_what_is_written_is_read(self, tmp_path_factory, value):
        path = tmp_path_factory.mktemp("yaml") / "x.yaml"
        write_yaml(path, {"value": value}, comment="made\nby a test")
        assert path.read_text(encoding="utf-8").startswith("# made\n# by a test\n")
        read = read_yaml(path).value["value"]
        assert read == value
        assert repr(read) == repr(value)  # 1 is not 1.0 or True, and keys keep their order

    @given(words)
    def test_text_is_written_so_that_yaml_1_1_reads_it_too(self, tmp_path_factory, text):
        path = tmp_path_factory.mktemp("yaml") / "x.yaml"
        write_yaml(path, [text])
        assert yaml.safe_load(path.read_text(encoding="utf-8")) == [text]

    def test_anchors(self):
        assert parse_yaml("a: &x {b: [1]}\nc: *x", "f").value == {"a": {"b": [1]}, "c": {"b": [1]}}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: 1\nb: 2\na: 3", "f.yaml:3: a: duplicate key 'a', on line 1 already"),
            ("x:\n  - b: 1\n\n    b: 1", r"f.yaml:4: x\[0\].b: duplicate key 'b', on line 2 already"),
            ("a: [1, 2", "f.yaml:1: not valid YAML: "),
            ("a: 1\n b: 2", "f.yaml:2: not valid YAML: "),
            ("a: 1\nb: *x", "f.yaml:2: not valid YAML: found undefined alias 'x'"),
            ("a: 1\n---\nb: 1", "f.yaml:2: not valid YAML: but found another document"),
            ("~: 1\n~: 2", "f.yaml:2: None: duplicate key 'None', on line 1 already"),
            ("1.5: 1\n1.5: 2", r"f.yaml:2: 1\.5: duplicate key '1\.5', on line 1 already"),
            ("a: 1\n[1]: 2", "f.yaml:2: a key must be text, found a list"),
            ("{a: 1}: 2", "f.yaml:1: a key must be text, found a mapping"),
            ("? !!set {a}\n: 1", "f.yaml:1: a key must be text, found a mapping"),
            ("? !!int [1]\n: 1", "f.yaml:1: a key must be text, found a list"),
            ("a: !!int x", "f.yaml:1: not valid YAML: 'x' is not !!int"),
            ("a: !!bool maybe", "f.yaml:1: not valid YAML: 'maybe' is not !!bool"),
            ("a: !!timestamp x", "f.yaml:1: not valid YAML: 'x' is not !!timestamp"),
            ("a: " + "9" * 5000, "f.yaml:1: not valid YAML: "),
            ("a: \x00", "f.yaml: not valid YAML: unacceptable character"),
            ("a: !!python/name:os.system x", "f.yaml:1: not valid YAML: could not determine a constructor"),
            ("a: !mine x", "f.yaml:1: not valid YAML: could not determine a constructor"),
            ("&a [*a]", "f.yaml: not valid YAML: "),
            ("[" * 2000, "f.yaml: not valid YAML: "),
        ],
    )
    def test_errors_name_the_line(self, text, message):
        with pytest.raises(UserError, match=f"^{message}"):
            parse_yaml(text, "f.yaml")

    def test_aliases_cannot_blow_up(self):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(9)]
        with pytest.raises(UserError, match=r"f\.yaml: more than 200000 values; do its aliases"):
            parse_yaml("\n".join(lines), "f.yaml")

    def test_files_that_cannot_be_read(self, tmp_path):
        with pytest.raises(UserError, match="no such file"):
            read_yaml(tmp_path / "x.yaml")
        with pytest.raises(UserError, match="not readable as text"):
            read_yaml(tmp_path)
        (tmp_path / "x.yaml").write_bytes(b"\xff")
        with pytest.raises(UserError, match="not readable as text"):
            read_yaml(tmp_path / "x.yaml")


SPACE = """\
name: rcn
states:
  r1:
    from: [conv, r0]
    kernel: 3
  no: 1
"""


class TestNode:
    def test_children_know_their_place(self):
        root = parse_yaml(SPACE, "f.yaml")
        assert str(root.at("states").at("r1").at("from").at(1).error("bad")) == "f.yaml:4: states.r1.from[1]: bad"
        assert str(root.at("states").at("no").error("bad")) == "f.yaml:6: states.no: bad"
        assert str(root.error("bad")) == "f.yaml:1: bad"
        assert [(key, node.value) for key, node in root.at("states").at("r1").items()] == [
            ("from", ["conv", "r0"]),
            ("kernel", 3),
        ]
        assert [node.text() for node in root.at("states").at("r1").at("from").elements()] == ["conv", "r0"]
        assert root.get("name").text() == "rcn"
        assert root.get("nothing") is None
        assert root.at("states").at("r1").at("kernel").integer(3) == 3

    @pytest.mark.parametrize(
        ("check", "message"),
        [
            (
                lambda root: root.mapping(["name", "state"]),
                "f.yaml:2: states: unknown key 'states'; did you mean 'state'?",
            ),
            (lambda root: root.mapping(required=["input"]), "f.yaml:1: the key 'input' is missing"),
            (
                lambda root: root.at("name").mapping(),
                "f.yaml:1: name: must be a mapping of keys to values, found 'rcn'",
            ),
            (lambda root: root.at("states").text(), "f.yaml:2: states: must be text, found a mapping with 'r1', 'no'"),
            (
                lambda root: root.at("name").integer(1),
                "f.yaml:1: name: must be a whole number of at least 1, found 'rcn'",
            ),
            (
                lambda root: root.at("states").at("r1").at("kernel").integer(4),
                "f.yaml:5: states.r1.kernel: must be a whole number of at least 4, found 3",
            ),
        ],
    )
    def test_checks(self, check, message):
        with pytest.raises(UserError) as caught:
            check(parse_yaml(SPACE, "f.yaml"))
        assert str(caught.value) == message

    def test_true_is_no_number_and_1_is_no_key(self):
        with pytest.raises(UserError, match="a: must be a whole number of at least 0, found True"):
            parse_yaml("a: true", "f").at("a").integer(0)
        with pytest.raises(UserError, match="the key 1 is not text; write it in quotes"):
            parse_yaml("1: a", "f").mapping()


class Augment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    flip: float = 0.0


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: PositiveInt
    augment: Augment = Augment()
    maybe: Augment | None = None
    several: list[Augment] = []


class TestInto:
    def test_valid(self):
        recipe = parse_yaml("epochs: 3\naugment: {flip: 5e-1}", "f.yaml").into(Recipe)
        assert recipe == Recipe(epochs=3, augment=Augment(flip=0.5))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("epoch: 3\nepochs: 1", "f.yaml:1: epoch: unknown key 'epoch'; did you mean 'epochs'?"),
            ("augment: {}", "f.yaml:1: the key 'epochs' is missing"),
            ("epochs: 1\naugment:\n  flap: 1", "f.yaml:3: augment.flap: unknown key 'flap'; did you mean 'flip'?"),
            ("epochs: 1\nmaybe:\n  flap: 1", "f.yaml:3: maybe.flap: unknown key 'flap'; did you mean 'flip'?"),
            ("epochs: 1\nseveral:\n- flap: 1", "f.yaml:3: several[0].flap: unknown key 'flap'; did you mean 'flip'?"),
            ("epochs: 0", "f.yaml:1: epochs: Input should be greater than 0, found 0"),
            ("- 1", "f.yaml:1: Input should be a valid dictionary or instance of Recipe, found a list of 1"),
        ],
    )
    def test_one_problem(self, text, message):
        with pytest.raises(UserError) as caught:
            parse_yaml(text, "f.yaml").into(Recipe)
        assert str(caught.value) == message

    def test_all_problems_at_once(self):
        with pytest.raises(UserError) as caught:
            parse_yaml("epochs: no\naugment: {flip: x, flop: 1}", "f.yaml").into(Recipe)
        first, second, third = str(caught.value).splitlines()
        assert first.startswith("f.yaml:1: epochs: ")
        assert first.endswith("found 'no'")
        assert second.startswith("f.yaml:2: augment.flip: ")
        assert third == "f.yaml:2: augment.flop: unknown key 'flop'; did you mean 'flip'?"


def test_words_for_messages():
    assert key_path(("states", "r1", "from", 0)) == "states.r1.from[0]"
    assert key_path((0, "a")) == "[0].a"
    assert key_path((None, 1.5)) == "None.1.5"
    assert describe(None) == "nothing"
    assert describe({}) == "a mapping with no keys"
    assert describe([1, 2]) == "a list of 2"
