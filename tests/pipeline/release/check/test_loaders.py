"""A release is loaded with its users' libraries, and whatever goes wrong there is reported."""

import io
import json
import shutil
import sys
import tarfile
import zipfile
from dataclasses import replace

import fsspec
import psutil
import pytest
from PIL import Image

from pipeline.files.storage import stored_file
from pipeline.files.tars import SampleTar, encode_json
from pipeline.records import StoredFile
from pipeline.release.check import loaders as verify_loaders
from pipeline.release.check import loaders_child
from pipeline.release.check.croissant_guard import strange_parts
from pipeline.release.check.loaders import check_with_loaders, missing_loaders
from pipeline.release.check.loaders_child import facts_of_tar
from pipeline.release.check.release_json import parse_release_json
from pipeline.release.croissant import CONTEXT, CROISSANT, croissant
from pipeline.release.croissant_texts import MEMBERS, CroissantAbout
from tests.pipeline.make import make_key, tree

HANG = """
import os, pathlib, subprocess, sys, time
other = subprocess.Popen(["sleep", "60"])
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {other.pid}")
time.sleep(60)
"""
CONNECT = """
import socket
from pipeline.release.check import loaders_child

def connect(task):
    print("something on standard output", flush=True)
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError as error:
        return loaders_child.LoaderAnswer(missing=str(error))

loaders_child.answer_of = connect
loaders_child.main()
"""
CRASH = (sys.executable, "-c", "import os, sys; print('\\x1b[31mlast words', file=sys.stderr, flush=True); os.abort()")


def with_croissant(released, folder):
    """A copy of a release with a croissant.json that its release.json names."""
    shutil.copytree(released.folder, folder)
    about = CroissantAbout(
        release=released.config.release,
        policy=released.config.policy,
        counts=released.release_json()["counts"],
        made_with={"ensemble_size": "3"},
    )
    files = [StoredFile(**file) for file in released.release_json()["files"]]
    described = [
        file for file in files if file.name.endswith((".tar", ".parquet")) or file.name.startswith("annotations/")
    ]
    (folder / CROISSANT).write_bytes(croissant(about, described))
    mend(folder)
    return folder


def mend(folder):
    """Name every existing file in release.json, with its size and sum."""
    record = json.loads((folder / "release.json").read_text())
    contents = {name: content for name, content in tree(folder).items() if name != "release.json"}
    records = [stored_file(name, content) for name, content in contents.items()]
    record["files"] = [{"name": file.name, "file_bytes": file.file_bytes, "sha256": file.sha256} for file in records]
    (folder / "release.json").write_bytes(encode_json(record))


def stated(folder):
    said = []
    release = parse_release_json((folder / "release.json").read_bytes(), said.append)
    assert said == []
    return release


def keys_of(folder):
    """Tar → keys in it."""
    keys = {}
    for name in tree(folder):
        if name.endswith(".tar"):
            with tarfile.open(folder / name) as tar:
                keys[name] = list(dict.fromkeys(member.name.partition(".")[0] for member in tar))
    return keys


def check(folder, url="", **options):
    return check_with_loaders(url or str(folder), stated(folder), keys_of(folder), 10, **options)


def task_of(folder, loader):
    return replace(verify_loaders._task(str(folder), stated(folder), keys_of(folder), 10), loader=loader)


@pytest.fixture
def only(monkeypatch):
    """Load with some of the libraries only: a process takes seconds to import one."""

    def choose(*loaders):
        chosen = {name: where for name, where in verify_loaders._BEGINS_WITH.items() if name in loaders}
        monkeypatch.setattr(verify_loaders, "_BEGINS_WITH", chosen)

    return choose


@pytest.fixture(scope="module")
def sound(released, release_of, tmp_path_factory):
    """Several tars in two splits."""
    options = {"tar_bytes": 1, "splits": ("train=0.5", "test=0.5")}
    made = release_of(released.inputs, tmp_path_factory.mktemp("made"), **options)
    folder = with_croissant(made, tmp_path_factory.mktemp("sound") / "copy")
    assert len(keys_of(folder)) > 2
    return folder


@pytest.fixture
def copy(released, tmp_path):
    """A release with one tar that the test may spoil."""
    return with_croissant(released, tmp_path / "copy")


# Sound releases


@pytest.mark.slow
def test_a_sound_release_loads_everywhere_and_nothing_is_written_into_it(sound):
    before = tree(sound)
    found = check(sound)
    assert (found.problems, found.notes) == ((), ())
    assert tree(sound) == before


@pytest.mark.slow
def test_a_sound_release_at_a_url_loads_from_copies_of_its_first_tars(sound, only):
    only("datasets", "pycocotools", "mlcroissant")
    url = "memory://loaders/copy"
    files = fsspec.filesystem("memory")
    for name, content in tree(sound).items():
        files.pipe_file(f"/loaders/copy/{name}", content)
    found = check(sound, url)
    assert found.problems == ()
    assert found.notes == ("the release is at a URL, so loaders got only the first tar of each split",)


@pytest.mark.thorough
def test_masks_without_images_load_too(released, release_of, tmp_path, only):
    only("datasets", "mlcroissant")
    made = release_of(released.inputs, tmp_path / "made", embed_images=False)
    found = check(with_croissant(made, tmp_path / "copy"))
    assert (found.problems, found.notes) == ((), ())


def test_a_release_without_images_or_croissant_is_no_problem(released, release_of, tmp_path, only):
    only("datasets", "mlcroissant")
    made = release_of(released.inputs, tmp_path / "made", min_area=0.9)
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    (folder / CROISSANT).unlink(missing_ok=True)
    mend(folder)
    assert check(folder).problems == ()


# Problems that bytes and sums do not show


def said_of(folder, loader):
    """The problems that a library finds in its own process: where → what."""
    found = check(folder)
    assert found.problems, found
    assert all(problem.what.startswith(f"{loader}: ") for problem in found.problems)
    return {problem.where: problem.what for problem in found.problems}


def test_datasets_finds_a_card_that_leads_nowhere(copy, only):
    only("datasets")
    card = (copy / "README.md").read_text()
    (copy / "README.md").write_text(card.replace("data/test/*.tar", "data/elsewhere/*.tar"))
    mend(copy)
    assert "No (supported) data files found" in said_of(copy, "datasets")["README.md"]


def test_datasets_finds_a_card_that_misnames_a_split(copy, only):
    only("datasets")
    card = (copy / "README.md").read_text()
    (copy / "README.md").write_text(card.replace("- split: test", "- split: train"))
    mend(copy)
    assert "gives the splits ['train']; the release has ['test']" in said_of(copy, "datasets")["README.md"]


def edit_facts(folder, edit):
    """Rewrite the tar; `edit` gets the number of a sample and its facts."""
    (name,) = keys_of(folder)
    samples = {}
    with tarfile.open(folder / name) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            samples.setdefault(key, {})[extension] = tar.extractfile(member).read()
    with (folder / name).open("wb") as file:
        tar = SampleTar(file)
        for number, (key, members) in enumerate(samples.items()):
            facts = json.loads(members["json"])
            edit(number, facts)
            tar.add(key, members | {"json": encode_json(facts)})
        tar.close()
    mend(folder)
    return name


def test_datasets_finds_a_fact_of_two_types_in_the_first_samples(copy, only):
    only("datasets")
    edit_facts(copy, lambda number, facts: facts.update(members=3 if number < 4 else "3"))
    assert "Unable to merge: Field json has incompatible types" in said_of(copy, "datasets")["README.md"]


def test_pycocotools_finds_annotations_without_info(copy, only):
    only("pycocotools")
    document = json.loads((copy / "annotations/test.json").read_text())
    del document["info"]
    (copy / "annotations/test.json").write_text(json.dumps(document))
    mend(copy)
    assert "KeyError: 'info'" in said_of(copy, "pycocotools")["annotations/test.json"]


def edit_croissant(folder, edit):
    document = json.loads((folder / CROISSANT).read_text())
    edit(document)
    (folder / CROISSANT).write_text(json.dumps(document))
    mend(folder)


def test_a_croissant_file_without_a_record_set_is_found(copy, only):
    only("mlcroissant")
    edit_croissant(copy, lambda document: document["recordSet"].pop())
    assert "did not find any record set" in said_of(copy, "mlcroissant")[CROISSANT]


def test_samples_and_pictures_that_contradict_the_facts_are_found(copy, only):
    only("webdataset")
    name = edit_facts(copy, lambda number, facts: facts.update(width=1) if number == 0 else None)
    found = check_with_loaders(str(copy), stated(copy), {name: [make_key(2)]}, 10).problems
    assert [problem.what for problem in found] == [
        *(f"webdataset: {make_key(2)}.{extension} is not an image of 1 x 30 px" for extension in sorted(MEMBERS)),
        "webdataset: gives 5 samples, not the 1 of the tar in order",
    ]


def test_masks_of_another_area_and_missing_images_are_found(copy, only):
    only("pycocotools")
    document = json.loads((copy / "annotations/test.json").read_text())
    document["annotations"][0]["area"] += 1
    (copy / "annotations/test.json").write_text(json.dumps(document))
    mend(copy)
    (name,) = keys_of(copy)
    found = check_with_loaders(str(copy), stated(copy), {name: keys_of(copy)[name] * 2}, 10).problems
    assert [problem.what for problem in found] == [
        "pycocotools: gives 5 images; the split has 10",
        "pycocotools: annotation 1 gives a mask of another size or area than it states",
    ]


# In this process


def answer_of(folder, loader):
    return [f"{where}: {what}" for where, what in loaders_child.answer_of(task_of(folder, loader)).problems]


class Rows(list):
    """What `datasets` gives for a split."""

    @property
    def features(self):
        return {name: make_feature("Image") for name in MEMBERS}


def make_feature(kind):
    return type(kind, (), {})()


def rows_of(folder):
    (name,) = keys_of(folder)
    facts = facts_of_tar(task_of(folder, "datasets"), name)
    pictures = {key: Image.new("L", (fact["width"], fact["height"])) for key, fact in facts.items()}
    return [{"__key__": key, "json": facts[key], **dict.fromkeys(MEMBERS, pictures[key])} for key in facts]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda rows: None, ""),
        (lambda rows: rows[3]["json"].update(members=0), f"{make_key(8)}: gives the facts"),
        (lambda rows: rows[3].update(jpg=Image.new("L", (1, 1))), f"{make_key(8)}: gives pictures of [(1, 1), "),
        (lambda rows: rows.pop(), "gives 4 rows, not the 5 samples"),
        (lambda rows: rows.reverse(), "gives 5 rows, not the 5 samples"),
    ],
    ids=range(5),
)
def test_rows_that_are_not_the_samples_of_the_tar_are_found(copy, edit, said):
    rows = rows_of(copy)
    edit(rows)
    (name,) = keys_of(copy)
    found = list(loaders_child._rows_of_datasets(Rows(rows), task_of(copy, "datasets"), name))
    assert found[0].startswith(said) if said else found == []


def test_pictures_that_come_out_as_bytes_are_found(copy):
    rows = Rows(rows_of(copy))
    rows.__class__ = type("Bytes", (Rows,), {"features": {name: make_feature("Value") for name in MEMBERS}})
    (said,) = loaders_child._rows_of_datasets(rows, task_of(copy, "datasets"), next(iter(keys_of(copy))))
    assert "all should be Image" in said


def test_a_loader_that_is_not_installed_is_missing(copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert missing_loaders() == ["datasets"]
    answer = loaders_child.answer_of(task_of(copy, "datasets"))
    assert "datasets" in answer.missing
    assert answer.problems == ()


# Hostile files


@pytest.mark.parametrize(
    "name", ["000000000002.pkl", "../../evil.jpg", "/evil.jpg", "000000000002.mask.png/x", ".json"]
)
def test_no_loader_sees_a_member_that_no_release_has(copy, name):
    (tar_name,) = keys_of(copy)
    with tarfile.open(copy / tar_name, "a") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    for loader in ("webdataset", "datasets", "mlcroissant"):
        task = task_of(copy, loader)
        with pytest.raises(ValueError, match="not a member of a sample"):
            facts_of_tar(task, tar_name)
    assert "not a member of a sample" in " ".join(answer_of(copy, "webdataset"))


def test_no_loader_sees_a_link(copy):
    (tar_name,) = keys_of(copy)
    with tarfile.open(copy / tar_name, "a") as tar:
        link = tarfile.TarInfo("000000000002.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ValueError, match="not a member of a sample"):
        facts_of_tar(task_of(copy, "datasets"), tar_name)


def test_a_tar_that_is_also_a_zip_is_not_unpacked(copy):
    (tar_name,) = keys_of(copy)
    with zipfile.ZipFile(copy / tar_name, "a") as archive:
        archive.writestr("x", "")
    with pytest.raises(ValueError, match="both a zip and a tar"):
        facts_of_tar(task_of(copy, "mlcroissant"), tar_name)


SUMS = {"a.tar": "0" * 64}


@pytest.mark.parametrize(
    "part",
    [
        {"@context": "https://evil.example/context"},
        {"distribution": [{"contentUrl": "https://evil.example/x", "sha256": "0" * 64}]},
        {"distribution": [{"contentUrl": "/etc/passwd", "sha256": "0" * 64}]},
        {"distribution": [{"contentUrl": "a.tar", "sha256": "1" * 64}]},
        {"distribution": [{"contentUrl": "a.tar"}]},
        {"distribution": [{"encodingFormat": "git+https"}]},
        {"recordSet": [{"field": [{"@context": {"x": "https://evil.example"}}]}]},
        {"recordSet": [{"https://schema.org/contentUrl": "https://evil.example/x"}]},
        {"recordSet": [{"sc:contentUrl": "https://evil.example/x"}]},
        {"@graph": []},
        {"recordSet": [{"data": [{}]}]},
    ],
    ids=range(11),
)
def test_a_croissant_file_that_asks_for_more_than_the_release_is_strange(part):
    assert list(strange_parts({"@context": CONTEXT} | part, SUMS))


def test_a_croissant_file_of_ours_is_not_strange(sound):
    sums = {name: file.sha256 for name, file in stated(sound).files.items()}
    assert list(strange_parts(json.loads((sound / CROISSANT).read_text()), sums)) == []


def test_mlcroissant_never_gets_a_strange_file(copy):
    edit_croissant(copy, lambda document: document["distribution"][0].update(contentUrl="https://evil.example/x"))
    (said,) = answer_of(copy, "mlcroissant")
    assert said == f"{CROISSANT}: names 'https://evil.example/x', which is not a file of the release with that sum"


# Processes that do not end as they should


def test_a_library_that_hangs_is_a_problem_and_is_killed_with_all_it_started(copy, only, monkeypatch, tmp_path):
    only("pycocotools")
    monkeypatch.setattr(verify_loaders, "_CHILD", (sys.executable, "-c", HANG, str(tmp_path / "pids")))
    (problem,) = check(copy, time_limit_s=3).problems
    assert (problem.where, problem.what) == ("annotations", "pycocotools: did not finish within 3.0 s")
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_library_that_crashes_is_a_problem_with_its_last_words(copy, only, monkeypatch):
    only("pycocotools")
    monkeypatch.setattr(verify_loaders, "_CHILD", CRASH)
    (problem,) = check(copy).problems
    assert problem.where == "annotations"
    assert "ended with exit code -6" in problem.what
    assert "last words" in problem.what
    assert problem.what.isprintable()


def test_a_missing_library_is_noted_with_what_to_install(copy, only, monkeypatch):
    only("datasets")
    answer = '{"missing": "No module named datasets", "problems": []}'
    monkeypatch.setattr(verify_loaders, "_CHILD", (sys.executable, "-c", f"print({answer!r})"))
    found = check(copy)
    assert found.problems == ()
    assert found.notes == ("not loaded with datasets (No module named datasets): pip install datasets",)


def test_a_library_gets_no_secrets(copy, only, monkeypatch):
    only("datasets")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    code = "import json, os; print(json.dumps({'missing': ' '.join(sorted(os.environ))}))"
    monkeypatch.setattr(verify_loaders, "_CHILD", (sys.executable, "-c", code))
    (note,) = check(copy).notes
    assert "HF_HUB_OFFLINE" in note
    assert "AWS" not in note


def test_a_library_connects_to_nothing_and_may_print_anything(copy, only, monkeypatch):
    only("datasets")
    monkeypatch.setattr(verify_loaders, "_CHILD", (sys.executable, "-P", "-c", CONNECT))
    found = check(copy)
    assert found.problems == ()
    assert "a loader tried to connect to something" in found.notes[0]


def test_a_file_missing_at_a_url_is_a_problem(copy, only):
    only("datasets")
    files = fsspec.filesystem("memory")
    for name, content in tree(copy).items():
        if name != "README.md":
            files.pipe_file(f"/gone/copy/{name}", content)
    (problem,) = check(copy, "memory://gone/copy").problems
    assert problem.where == "README.md"
    assert "is missing" in problem.what
