"""A case file is a plan, or one sentence that names the key."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from audit._toml import dumps
from audit.casefile import read_plan, write_plan
from audit.errors import AuditError, CaseError, CorpusError
from audit.types import SubjectSpec

CASE: dict[str, Any] = {
    "name": "Two people",
    "seed": 3,
    "subjects": {
        "original": {"path": "models/original"},
        "reference": {"path": "models/reference"},
        "candidates": [
            {"name": "npo", "path": "models/npo"},
            {"name": "rmu", "path": "models/rmu", "dtype": "float16"},
        ],
    },
    "corpora": {"forget": "forget.jsonl", "retain": "retain.jsonl", "holdout": "holdout.jsonl"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Corpora and (empty) model folders: a plan does not open a model."""
    for name in ("original", "reference", "npo", "rmu"):
        (tmp_path / "models" / name).mkdir(parents=True)
    for split in ("forget", "retain", "holdout"):
        row = {
            "prompt": f"about {split}?", "answer": "yes", "entity": split, "label": "l", "wrong_answers": ["no"],
            "paraphrases": ["p"],
        }  # fmt: skip
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def write(folder: Path, data: dict[str, Any] | str | bytes, name: str = "case.toml") -> Path:
    path = folder / name
    content = data if isinstance(data, (str, bytes)) else dumps(data)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def changed(*path: Any, value: Any = None, remove: bool = False) -> dict[str, Any]:
    """The case with one value set or removed, wherever it lies."""
    data = json.loads(json.dumps(CASE))
    table = data
    for key in path[:-1]:
        table = table[key] if isinstance(key, int) else table.setdefault(key, {})
    if remove:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return data


def refused(folder: Path, data: dict[str, Any] | str | bytes, words: str, **options: Any) -> str:
    with pytest.raises(CaseError, match=words) as caught:
        read_plan(write(folder, data), **options)
    text = str(caught.value)
    assert "\n" not in text
    assert "pydantic" not in text
    return text


def test_a_whole_case(folder: Path) -> None:
    data = changed(
        "evidence", value={"only": ["behaviour.recall", "attacks.relearn"], "attacks.relearn": {"steps": 40}}
    )
    data["template"] = "qa"
    plan = read_plan(write(folder, data))
    assert (plan.name, plan.seed, plan.template, plan.path) == ("Two people", 3, "qa", folder / "case.toml")
    assert plan.original == SubjectSpec("original", "original", str(folder / "models/original"), {})
    assert plan.reference == SubjectSpec("reference", "reference", str(folder / "models/reference"), {})
    assert plan.candidates[1] == SubjectSpec("rmu", "candidate", str(folder / "models/rmu"), {"dtype": "float16"})
    assert plan.only == ("behaviour.recall", "attacks.relearn")
    assert plan.settings == {"attacks.relearn": {"steps": 40}}
    assert plan.warnings == ()
    assert list(plan.corpora) == ["forget", "retain", "holdout"]
    first, second = plan.cases()
    assert (first.candidate, second.candidate) == plan.candidates
    assert (first.original, first.reference, first.seed, first.template) == (plan.original, plan.reference, 3, "qa")


def test_general_knowledge_may_be_named_and_is_one_fact_to_an_entity(folder: Path) -> None:
    before = read_plan(write(folder, CASE)).digest
    rows = [{"question": f"Capital {i}?", "answer": "Oslo", "perturbed_answer": ["Lima"]} for i in range(4)]
    (folder / "world.json").write_text(json.dumps(rows))
    data = changed("corpora", "world_facts", value="world.json")
    data["corpora"]["entity_block"] = 2
    plan = read_plan(write(folder, data))
    assert list(plan.corpora) == ["forget", "retain", "holdout", "world_facts"]
    assert plan.warnings == ()
    assert plan.digest != before
    assert plan.corpora["world_facts"].entities == [f"world_facts:{i}" for i in range(4)]
    with pytest.raises(CorpusError, match="no real_authors corpus absent.json"):
        read_plan(write(folder, changed("corpora", "real_authors", value="absent.json")))


def test_the_design_s_example_is_read(folder: Path) -> None:
    plan = read_plan(
        write(
            folder,
            """
name = "People, six candidates"
seed = 0
[subjects.original]            # path or hub id; the other keys are the loader's settings
path = "models/original"
[[subjects.candidates]]
name = "npo"
path = "models/npo"
[corpora]
forget  = "forget.jsonl"
retain  = "retain.jsonl"
entity_block = 20
[evidence]
only = ["behaviour.recall", "probes.linear"]
[evidence."attacks.relearn"]
steps = 40
""",
        )
    )
    assert plan.reference is None
    assert "no control" in plan.warnings[0]


@pytest.mark.parametrize("remove", ["reference", "holdout"])
def test_one_control_is_enough(folder: Path, remove: str) -> None:
    data = changed("subjects", "reference", remove=True) if remove == "reference" else changed(
        "corpora", "holdout", remove=True
    )  # fmt: skip
    assert read_plan(write(folder, data)).warnings == ()


def test_warnings_of_the_corpora_are_the_plan_s(folder: Path) -> None:
    (folder / "retain.jsonl").write_text('{"prompt": "p", "answer": "a"}\n')
    assert "entity_block" in read_plan(write(folder, CASE)).warnings[0]


def test_relative_paths_start_at_the_case_file(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(folder, CASE)
    monkeypatch.chdir(folder.parent)
    assert read_plan(Path(folder.name) / "case.toml").original.path == str(folder / "models" / "original")


def test_a_second_reference_is_optional(folder: Path) -> None:
    assert read_plan(write(folder, CASE)).second_reference is None
    assert read_plan(write(folder, CASE)).cases()[0].compared == ("original", "candidate", "reference")
    plan = read_plan(write(folder, changed("subjects", "second_reference", value={"path": "models/npo"})))
    second = SubjectSpec("second reference", "second reference", str(folder / "models/npo"), {})
    assert plan.second_reference == second
    for case in plan.cases():
        assert case.roles == ("original", "candidate", "reference")
        assert case.compared == (*case.roles, "second reference")
        assert case.subject("second reference") == second
    assert plan.warnings == ()
    same = read_plan(write(folder, changed("subjects", "second_reference", value={"path": "models/reference"})))
    assert any("is the reference itself" in warning for warning in same.warnings)


def concepts(folder: Path, value: dict[str, Any]) -> dict[str, Any]:
    """The case with settings of value vectors, and a file of concepts beside it."""
    entries = [{"Concept": "Poland", "Layer": 1, "Dim": 2, "QA": ["Where?"]}]
    (folder / "concepts.json").write_text(json.dumps(entries))
    return changed("evidence", "concepts.value_vectors", value=value)


def test_a_file_that_a_setting_names_starts_at_the_case_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = concepts(folder, {"file": "concepts.json", "concept": "Poland"})
    monkeypatch.chdir(folder.parent)
    settings = read_plan(write(folder, data), root=folder).settings["concepts.value_vectors"]
    assert settings == {"file": str(folder / "concepts.json"), "concept": "Poland"}
    write_plan(folder / "again.toml", data)  # what is in the file is looked at when the case is read
    assert read_plan(folder / "again.toml").settings["concepts.value_vectors"] == settings


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"file": "absent.json"}, 'Setting "file" of "concepts.value_vectors" names no file: looked for .*absent.json'),
        ({"file": "models"}, "names no file"),
        ({"file": "forget.jsonl"}, "holds no list of concepts; expected a JSON list"),
        ({"file": "concepts.json", "concept": "Polamd"}, 'knows no concept "Polamd". Did you mean "Poland"'),
        ({"concept": "Poland"}, "has no file"),
        ({"file": "concepts.json", "vectors": ["1:2"]}, "not by both"),
        ({"file": "../outside.json"}, "only what lies below that folder may be opened"),
    ],
)
def test_a_file_that_a_setting_names_is_checked(folder: Path, value: dict[str, Any], words: str) -> None:
    refused(folder, concepts(folder, value), words, root=folder)


def test_the_digest_is_about_what_is_asked(folder: Path) -> None:
    plain = read_plan(write(folder, CASE)).digest
    assert plain == read_plan(write(folder, CASE)).digest
    others = [
        changed("seed", value=4),
        changed("template", value="qa"),
        changed("evidence", value={"attacks.relearn": {"steps": 41}}),
        changed("subjects", "candidates", 0, "name", value="other"),
        changed("subjects", "reference", remove=True),
        changed("subjects", "original", "dtype", value="bfloat16"),
        changed("subjects", "second_reference", value={"path": "models/npo"}),
    ]
    digests = [read_plan(write(folder, other)).digest for other in others]
    assert len({plain, *digests}) == len(others) + 1
    (folder / "forget.jsonl").write_text('{"prompt": "other", "answer": "a"}\n')
    assert read_plan(write(folder, CASE)).digest != plain


# -- what is wrong, in words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed("name", remove=True), '"name" is missing; expected a name'),
        (changed("name", value=3), '"name" is 3; expected a name, as text'),
        (changed("name", value="  "), '"name" is .* expected a name'),
        (changed("seed", value=-1), '"seed" is -1; expected a whole number'),
        (changed("seed", value=1.5), '"seed" is 1.5'),
        (changed("seed", value=True), '"seed" is True'),
        (changed("seed", value=2**63), '"seed" is 9223372036854775808'),
        (changed("sede", value=1), 'Unknown key "sede". Did you mean "seed"'),
        (changed("template", value="chatt"), '"template" is \'chatt\'; expected "plain", "qa" or "chat"'),
        (changed("subjects", remove=True), '"subjects" is missing; expected tables'),
        (
            changed("subjects", "orginal", value={"path": "x"}),
            'Unknown key "subjects.orginal". Did you mean "original"',
        ),
        (changed("subjects", "original", value="models/original"), '"subjects.original" is .*expected a table'),
        (changed("subjects", "original", value={}), '"subjects.original.path" is missing; expected the path'),
        (changed("subjects", "original", "path", value=1), '"subjects.original.path" is 1; expected the path'),
        (changed("subjects", "second_reference", value="a"), '"subjects.second_reference" is .a.; expected a table'),
        (changed("subjects", "second_reference", value={}), '"subjects.second_reference.path" is missing'),
        (changed("subjects", "second_reference", value={"path": "models/none"}), "second reference is not there"),
        (
            changed(
                "subjects",
                value={k: v for k, v in CASE["subjects"].items() if k != "reference"}
                | {"second_reference": {"path": "models/npo"}},
            ),
            "a second reference but no",
        ),
        (changed("subjects", "candidates", value=[]), '"subjects.candidates" is an empty list; expected at least one'),
        (changed("subjects", "candidates", value={"name": "a", "path": "b"}), '"subjects.candidates" is a table'),
        (changed("subjects", "candidates", 1, "name", remove=True), r'"subjects.candidates\[2\].name" is missing'),
        (changed("subjects", "candidates", value=["npo"]), r'"subjects.candidates\[1\]" is \'npo\'; expected a table'),
        (changed("corpora", "forget", remove=True), '"corpora.forget" is missing; expected a file of items'),
        (changed("corpora", "retain", value=["a"]), '"corpora.retain" is a list; expected a file of items'),
        (changed("corpora", "holdot", value="x"), 'Unknown key "corpora.holdot". Did you mean "holdout"'),
        (changed("corpora", "entity_block", value=0), '"corpora.entity_block" is 0; expected the number'),
        (changed("corpora", "entity_block", value="20"), "\"corpora.entity_block\" is '20'"),
        (changed("evidence", value=[1]), '"evidence" is a list; expected a table'),
        (changed("evidence", "only", value="behaviour.recall"), '"evidence.only" is .*list of ids'),
        (changed("evidence", "only", value=[]), '"evidence.only" is .*list of ids'),
        (changed("evidence", "only", value=["behavior.recall"]), 'Did you mean "behaviour.recall"'),
        (changed("evidence", "attacks.relern", value={}), 'Unknown evidence "attacks.relern".*"attacks.relearn"'),
        (changed("evidence", "attacks.relearn", value=3), '"evidence.attacks.relearn" is 3; expected a table'),
        (changed("evidence", "attacks.relearn", value={"stepz": 3}), 'no setting "stepz". Did you mean "steps"'),
        (
            changed("evidence", "attacks.relearn", value={"steps": "3"}),
            "Setting \"steps\".*'3'; expected something such",
        ),
        (
            changed("evidence", "attacks", value={"relearn": {"steps": 3}}),
            r'\[evidence."attacks.relearn"\] with quotes',
        ),
        (changed("subjects", "original", "alow_pickle", value=True), 'no setting "alow_pickle". Did you mean "allow_p'),
        (changed("subjects", "candidates", 0, "dtype", value="bf16"), 'Setting "dtype" of subject "npo"'),
    ],
)
def test_what_is_wrong_is_named(folder: Path, data: dict[str, Any], words: str) -> None:
    assert str(folder / "case.toml") in refused(folder, data, words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a/b", "cannot be the name of a folder.*for example \"a-b\""), ("..", "cannot be the name"),
        (".hidden", "cannot be the name"), ("end.", "cannot be the name"), ("a\\b", 'for example "a-b"'),
        ("a\nb", "cannot be the name"), ("x" * 65, "cannot be the name"), ("<b>", 'for example "b"'),
        ("original", "the name of a role"), ("Reference", "the name of a role"), ("candidate", "the name of a role"),
        ("second reference", "the name of a role"), ("Floor", "columns of the tables.*for example \"Floor-1\""),
        ("null", "columns of the tables"), ("came back", "columns of the tables"), ("npo", "Two candidates are called"),
        ("NPO", 'Two candidates are called "npo" and "NPO"'),
    ],
)  # fmt: skip
def test_names_must_fit_a_folder_and_differ(folder: Path, name: str, words: str) -> None:
    data = changed("subjects", "candidates", 1, "name", value=name)
    with pytest.raises(CaseError, match=words):
        read_plan(write(folder, data))


@pytest.mark.parametrize("name", ["npo-2", "gradient ascent", "v1.0+lora", "a (copy)", "référence-2", "2"])
def test_ordinary_names_pass(folder: Path, name: str) -> None:
    plan = read_plan(write(folder, changed("subjects", "candidates", 1, "name", value=name)))
    assert plan.candidates[1].name == name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name = ", "not valid TOML"), ("\0", "not valid TOML"), (b"\xff\xfe", "not UTF-8"), ("", '"name" is missing'),
        ("a = " + "[" * 2000, "not valid TOML"), ("a=1\na=2", "not valid TOML.*overwrite"),
    ],
)  # fmt: skip
def test_broken_files(folder: Path, content: str | bytes, words: str) -> None:
    refused(folder, content, words)


def test_a_file_with_a_byte_order_mark(folder: Path) -> None:
    assert read_plan(write(folder, b"\xef\xbb\xbf" + dumps(CASE).encode())).seed == 3


def test_what_is_not_there_says_where_it_looked(folder: Path) -> None:
    with pytest.raises(CaseError, match=f"There is no case file.*{folder / 'absent.toml'}"):
        read_plan(folder / "absent.toml")
    with pytest.raises(CaseError, match="is a folder; expected a case file"):
        read_plan(folder)
    refused(folder, changed("subjects", "candidates", 0, "path", value="models/npu"), f"{folder}/models/npu")
    refused(folder, changed("subjects", "original", "path", value="forget.jsonl"), "forget.jsonl, a file; expected a")
    refused(folder, changed("subjects", "original", "path", value="./nowhere/original"), "looked for .*nowhere")
    refused(folder, changed("subjects", "original", "path", value="x" * 5000), "not a usable path")
    refused(folder, changed("subjects", "original", "path", value="~nobody-of-that-name/m"), "not a usable path")
    refused(folder, changed("subjects", "original", "path", value="a\0b"), "not a usable path")
    with pytest.raises(CorpusError, match=f"looked for {folder}/absent.jsonl"):
        read_plan(write(folder, changed("corpora", "retain", value="absent.jsonl")))
    refused(folder, changed("subjects", "candidates", 0, "base", value="models/none"), "The base of npo is not there")


@pytest.mark.parametrize("path", ["hub:owner/name", "owner/name", "meta-llama/Llama-3.2-1B"])
def test_hub_ids(folder: Path, path: str) -> None:
    plan = read_plan(write(folder, changed("subjects", "original", "path", value=path)))
    assert plan.original.path == "hub:" + path.removeprefix("hub:")


# -- a root for paths that come from a browser


def link(folder: Path, where: Path, name: str) -> None:
    (folder / name).symlink_to(where)


@pytest.fixture
def outside(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("outside")
    (place / "model").mkdir()
    (place / "model" / "secret.safetensors").write_text("")
    (place / "secret.jsonl").write_text('{"prompt": "p", "answer": "a", "entity": "e"}\n')
    return place


def test_below_the_root_all_is_well(folder: Path) -> None:
    path = write(folder, CASE)
    assert read_plan(path, root=folder).digest == read_plan(path).digest
    link(folder, folder / "models" / "npo", "inner")
    read_plan(write(folder, changed("subjects", "candidates", 0, "path", value="inner")), root=folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f, o: changed("subjects", "original", "path", value=str(o / "model")), "model of original"),
        (lambda f, o: changed("subjects", "original", "path", value=f"../{f.name}/../../x"), "model of original"),
        (lambda f, o: changed("subjects", "candidates", 0, "base", value=str(o / "model")), "base of npo"),
        (lambda f, o: changed("corpora", "forget", value=str(o / "secret.jsonl")), "forget corpus"),
        (lambda f, o: changed("corpora", "forget", value="../secret.jsonl"), "forget corpus"),
        (
            lambda f, o: (
                link(f, o / "secret.jsonl", "linked.jsonl") or changed("corpora", "forget", value="linked.jsonl")
            ),
            "forget corpus",
        ),
        (
            lambda f, o: link(f, o / "model", "linked") or changed("subjects", "original", "path", value="linked"),
            "model of original",
        ),
        (lambda f, o: link(f / "models" / "npo", o / "model" / "secret.safetensors", "x") or CASE, "model of npo"),
        (
            lambda f, o: (
                (o / "model" / "config.json").write_text("{}")
                and (f / "models" / "npo" / "adapter_config.json").write_text(
                    json.dumps({"base_model_name_or_path": str(o / "model")})
                )
                and CASE
            ),
            "base that the adapter of npo names",
        ),
    ],
)
def test_nothing_outside_the_root_is_opened(
    folder: Path, outside: Path, spoil: Callable[[Path, Path], dict[str, Any]], words: str
) -> None:
    data = spoil(folder, outside)
    refused(folder, data, f"{words}.* outside of .*only what lies below", root=folder)


def test_a_case_file_outside_the_root(folder: Path, outside: Path) -> None:
    with pytest.raises(CaseError, match="The case file is .* outside of"):
        read_plan(write(folder, CASE), root=outside)
    link(outside, write(folder, CASE), "case.toml")
    with pytest.raises(CaseError, match="The case file is .* outside of"):
        read_plan(outside / "case.toml", root=outside)


# -- writing


def test_what_is_written_is_read(folder: Path) -> None:
    data = changed("evidence", value={"only": ["behaviour.recall"], "attacks.relearn": {"steps": 40}})
    data["subjects"]["reference"] = None  # a form's empty field
    write_plan(folder / "written.toml", data)
    written, plain = read_plan(folder / "written.toml"), read_plan(write(folder, data))
    assert written.digest == plain.digest
    assert written.reference is None
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "case.toml", "forget.jsonl", "holdout.jsonl", "retain.jsonl", "written.toml",
    ]  # fmt: skip


def test_no_case_no_file(folder: Path) -> None:
    for data in (changed("seed", value="x"), changed("name", value=object()), changed("sede", value=1),
                 changed("evidence", value={"only": ["x"]}), {}):  # fmt: skip
        with pytest.raises(CaseError):
            write_plan(folder / "written.toml", data)
    assert not (folder / "written.toml").exists()


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), [{"a": 1}, 2], b"x", "\ud800"])
def test_what_toml_does_not_have(value: Any) -> None:
    with pytest.raises(CaseError, match="A case file cannot hold"):
        dumps({"a": {"b": value}})


PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TABLES = st.recursive(
    st.dictionaries(st.text(), PLAIN | st.lists(PLAIN, max_size=3), max_size=3),
    lambda inner: st.dictionaries(st.text(), inner | PLAIN | st.lists(inner, min_size=1, max_size=2), max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(TABLES)
def test_toml_comes_back_as_it_was(data: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(data)) == data


# -- anything at all

SCALARS = st.none() | PLAIN | st.sampled_from(["models/npo", "forget.jsonl", "retain.jsonl", "npo", "behaviour.recall"])
ANY = st.recursive(SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3))
PLACES = [
    ("name",), ("seed",), ("template",), ("subjects",), ("subjects", "original"), ("subjects", "original", "path"),
    ("subjects", "original", "base"), ("subjects", "candidates"), ("subjects", "candidates", 0),
    ("subjects", "candidates", 0, "name"), ("subjects", "candidates", 0, "path"), ("corpora",), ("corpora", "forget"),
    ("corpora", "entity_block"), ("evidence",), ("evidence", "only"), ("evidence", "attacks.relearn"), ("other",),
]  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), ANY, st.booleans())
def test_any_value_anywhere_is_a_plan_or_a_sentence(folder: Path, place: tuple, value: Any, rooted: bool) -> None:
    try:
        text = dumps(changed(*place, value=value))
    except CaseError:
        assume(False)
    try:
        plan = read_plan(write(folder, text), root=folder if rooted else None)
    except AuditError as error:
        assert str(error).strip()
        assert "pydantic" not in str(error)
        return
    assert plan.digest
    assert plan.cases()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
def test_any_bytes_are_a_sentence(folder: Path, content: bytes) -> None:
    with pytest.raises(CaseError):
        read_plan(write(folder, content))
