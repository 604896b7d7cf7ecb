"""`kgated sign` and `kgated keygen`, with the device's check as the judge."""

import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kgated_edge import EdgeModel, SignatureError, read_manifest, require_signature
from kgated_edge.format.event_settings import EventSettings

from kgated_cli.app import main
from kgated_cli.light import import_light

FIXTURES = Path(__file__).parent / "edge" / "fixtures"


@pytest.fixture
def model(tmp_path):
    return shutil.copy(FIXTURES / "speech.tflite", tmp_path / "speech.tflite")


@pytest.fixture
def key(tmp_path, run):
    run("keygen", tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def run(capfd):
    """(arguments) -> (exit code, stdout, stderr) of `kgated`."""

    def command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return (ended.value.code, *capfd.readouterr())

    return command


def public(key):
    return f"{key}.pub"


def test_a_signed_file_computes_the_same_and_carries_its_name_and_version(run, model, key):
    golden = EdgeModel(model).golden_outputs()
    assert run("sign", model, "--key", key, "--model-version", 7)[0] == 0
    file = require_signature(model, public(key))
    assert (file.signing.name, file.signing.version) == ("speech", 7)
    outputs = EdgeModel(file).golden_outputs()
    assert {n: x.tolist() for n, x in outputs.items()} == {n: x.tolist() for n, x in golden.items()}


def test_a_second_signature_replaces_the_first(run, model, key, tmp_path):
    run("keygen", tmp_path / "second")
    run("sign", model, "--key", key, "--model-version", 1)
    size = model.stat().st_size
    code, out, _ = run("sign", model, "--key", tmp_path / "second", "--name", "words")
    assert code == 0
    assert "model words, version 1" in out  # the time, of ten digits
    assert model.stat().st_size == size
    with pytest.raises(SignatureError, match="it was signed by the key"):
        require_signature(model, public(key))
    require_signature(model, public(tmp_path / "second"))


def test_signing_twice_gives_the_same_bytes(run, model, key):
    run("sign", model, "--key", key, "--model-version", 3)
    content = model.read_bytes()
    run("sign", model, "--key", key, "--model-version", 3)
    assert model.read_bytes() == content


def test_the_secret_key_is_its_owners_and_is_never_overwritten(run, key):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert run("keygen", key)[0] == 2
    code, _, err = run("keygen", key, f"{key}.new.pub")
    assert (code, key.read_bytes()) == (2, before)
    assert "exists" in err


def test_each_public_key_is_said_to_be_for_what_it_can_do(run, tmp_path):
    assert "key.pub: for --require-key on devices" in run("keygen", tmp_path / "key")[1]
    out = run("keygen", tmp_path / "ec", "--kind", "p256")[1]
    assert "ec.pub: checks the bundles" in out
    assert "--require-key" not in out


def test_openssl_reads_the_keys(run, key):
    command = shutil.which("openssl")
    if command is None:
        pytest.skip("no openssl here")
    shown = subprocess.run(
        [command, "pkey", "-in", str(key), "-pubout"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == Path(public(key)).read_text()


@pytest.mark.parametrize("kind", ["p256", "public", "text", "missing"])
def test_a_key_that_cannot_sign_is_an_error_and_changes_nothing(kind, run, model, key, tmp_path):
    path = tmp_path / "wrong"
    if kind == "p256":
        run("keygen", path, "--kind", "p256")
    elif kind != "missing":
        path.write_bytes(Path(public(key)).read_bytes() if kind == "public" else b"secret")
    content = model.read_bytes()
    code, _, err = run("sign", model, "--key", path)
    assert (code, err.count("\n")) == (2, 1)
    assert model.read_bytes() == content


@pytest.mark.parametrize("name", ["", "words\nPASS", "words\0"])
def test_a_name_that_is_no_text_on_one_line_is_refused(name, run, model, key):
    content = model.read_bytes()
    code, _, err = run("sign", model, "--key", key, "--name", name)
    assert (code, err.count("\n"), model.read_bytes()) == (2, 1, content)
    assert "`name` must be a text on one line" in err


def test_a_link_stays_and_the_file_that_it_names_is_signed(run, model, key, tmp_path):
    link = tmp_path / "links" / "newest.tflite"
    link.parent.mkdir()
    link.symlink_to(model)
    assert run("sign", link, "--key", key, "--model-version", 7)[0] == 0
    assert link.is_symlink()
    assert require_signature(model, public(key)).signing.version == 7
    assert [path.name for path in link.parent.iterdir()] == ["newest.tflite"]


@pytest.mark.parametrize("kind", ["ed25519", "missing"])
def test_a_wrong_key_for_the_bundle_leaves_the_file_unsigned(kind, run, model, key, tmp_path):
    pytest.importorskip("model_signing.signing")
    content = model.read_bytes()
    path = key if kind == "ed25519" else tmp_path / "missing"
    code, out, err = run("sign", model, "--key", key, "--bundle-key", path)
    assert (code, out, err.count("\n"), model.read_bytes()) == (2, "", 1, content)
    assert ("P-256" if kind == "ed25519" else "no such file") in err


@pytest.mark.parametrize("version", [-1, 2**53])
def test_a_version_out_of_range_is_refused(version, run, model, key):
    code, _, err = run("sign", model, "--key", key, f"--model-version={version}")
    assert code == 2
    assert "`version` must be an int" in err


def test_a_change_of_the_manifest_removes_the_signature_with_a_warning(run, model, key):
    run("sign", model, "--key", key)
    tuning = import_light("kgated.tuning")
    with pytest.warns(UserWarning, match=r"was signed, .* removed: sign the file again"):
        tuning.write_section(model, "events", EventSettings().to_plain())
    with pytest.raises(SignatureError, match="it has no signature"):
        require_signature(model, public(key))
    run("sign", model, "--key", key)
    require_signature(model, public(key))


@pytest.mark.parametrize("wrong", ["unsigned", "replayed", "another key"])
@pytest.mark.parametrize(
    "command",
    [
        ("tune", "recordings", "--false-alarms-per-day", 1),
        ("intervals", "data.npz"),
        ("web", "-o", "site"),
    ],
    ids=lambda command: command[0],
)
def test_commands_that_run_or_publish_a_model_can_require_a_key(
    command, wrong, run, model, key, tmp_path, monkeypatch
):
    """The other files are missing, and the refusal comes before."""
    monkeypatch.chdir(tmp_path)
    Path("versions").write_text('{"name":"speech","version":6,"file_sha256":"0"}')
    if wrong != "unsigned":
        run("sign", model, "--key", key, "--model-version", 5)
    run("keygen", "second")
    trusted = public("second" if wrong == "another key" else key)
    name, *rest = command
    options = ("--require-key", trusted, "--version-file", "versions")
    content = model.read_bytes()
    code, out, err = run(name, model, *rest, *options)
    reason = {"replayed": "its version 5 is older than 6", "unsigned": "it has no signature"}
    assert reason.get(wrong, "it was signed by the key") in err
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert (model.read_bytes(), Path("site").exists()) == (content, False)


@pytest.mark.filterwarnings("default:.* sign the file again")
def test_settings_are_written_into_the_verified_bytes(run, model, key, tmp_path, monkeypatch):
    """A file that is replaced after the check changes nothing."""
    run("sign", model, "--key", key, "--model-version", 5)
    data, content = tmp_path / "d.npz", model.read_bytes()
    np.savez(data, x=np.zeros((9, 5, 3), np.float32), y=np.zeros((9, 5, 2)))
    tuning = import_light("kgated.tuning")
    measure = tuning.conformal_intervals

    def replaced(*arguments):
        model.write_bytes(b"another file")
        return measure(*arguments)

    monkeypatch.setattr(tuning, "conformal_intervals", replaced)
    options = ("--require-key", public(key), "--version-file", tmp_path / "versions")
    code, out, err = run("intervals", model, data, *options)
    assert code == 0
    assert "the intervals are in its manifest" in out
    assert "sign the file again" in err
    assert read_manifest(model).intervals.coverage == 0.9
    model.write_bytes(content)
    assert run("intervals", model, data, "--dry-run", *options)[0] == 0


def test_the_bundle_is_in_the_folder_of_the_file(run, model, key, tmp_path):
    verifying = pytest.importorskip("model_signing.verifying")
    run("keygen", tmp_path / "ec", "--kind", "p256")
    code, out, err = run("sign", model, "--key", key, "--bundle-key", tmp_path / "ec")
    assert (code, err) == (0, "")
    bundle = Path(f"{model}.sig")
    assert f"{bundle}: the bundle" in out
    config = verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "ec.pub")
    config.verify(model, bundle)
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="mismatch"):
        config.verify(model, bundle)
