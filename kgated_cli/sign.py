"""`kgated sign` and `kgated keygen`: signed model files."""

from pathlib import Path
from typing import Annotated

import typer

from kgated_cli.app import app
from kgated_cli.light import import_light


@app.command()
def sign(
    model: Annotated[Path, typer.Argument(help="A .tflite file of `kgated convert`.")],
    key: Annotated[Path, typer.Option(help="An Ed25519 private key in PEM.")],
    model_version: Annotated[
        int | None,
        typer.Option(help="Ascending; else the time in seconds. A device refuses older ones."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Whose versions replace one another; else the model's.")
    ] = None,
    bundle_key: Annotated[
        Path | None,
        typer.Option(help="An elliptic-curve key: writes an OpenSSF bundle MODEL.tflite.sig too."),
    ] = None,
) -> None:
    """Sign a file, so that devices with the public key run it and no other."""
    signing = import_light("kgated.signing")
    if bundle_key is not None:
        signing.check_bundle_key(bundle_key)
    entry = signing.sign(model, key, model_version, name)
    typer.echo(f"{model}: signed by {entry.key}")
    typer.echo(f"model {entry.name}, version {entry.version}")
    if bundle_key is not None:
        typer.echo(f"{signing.write_bundle(model, bundle_key)}: the bundle")


@app.command()
def keygen(
    private: Annotated[Path, typer.Argument(help="The file of the private key; keep it secret.")],
    public: Annotated[
        Path | None, typer.Argument(help="The file of the public key; else PRIVATE.pub.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="ed25519: signatures in the file. p256: for --bundle-key.")
    ] = "ed25519",
) -> None:
    """Make a pair of keys for `kgated sign`."""
    shown = public or Path(f"{private}.pub")
    import_light("kgated.signing").generate_key(private, shown, kind)
    use = "for --require-key on devices" if kind == "ed25519" else "checks the bundles"
    typer.echo(f"{private}: keep it secret\n{shown}: {use}")
