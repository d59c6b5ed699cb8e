"""What the header of a safetensors file says, and one line where there is none."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from geoscope.errors import WeightsError


def read_header(path: Path, cure: str) -> dict[str, str]:
    """The metadata in the header of ``path``; empty where it has none.

    Raises:
        WeightsError: not a safetensors file, in one line that ends with the ``cure``.
    """
    try:
        with safe_open(path, framework="np") as archive:
            return archive.metadata() or {}
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:100]
        raise WeightsError(f"{path.name} is not a readable safetensors file ({reason}); {cure}") from None
