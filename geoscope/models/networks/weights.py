"""Weights of a network of frames in one safetensors file, whose header says which network and what its numbers are."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors.torch import load_file, save_file
from torch import nn

from geoscope.errors import ConfigError, WeightsError
from geoscope.models.networks import Size, build
from geoscope.zoo.safetensors_header import read_header

FORMAT = "geoscope-frames"
Encoding = Literal["unit", "vil", "log rain"]


@dataclass(frozen=True, kw_only=True)
class NetworkHeader:
    """Which network of `networks.build` it is, and what it was trained on.

    encoding: "unit" pictures in [0, 1]; "vil" SEVIR's codes over 255; "log rain" see `frame_nowcaster`. pixel_km and
    interval_minutes are of the training data, 0 where they have none.
    """

    name: str
    size: Size
    in_frames: int
    out_frames: int
    height: int
    width: int
    channels: int
    encoding: Encoding
    pixel_km: float = 0.0
    interval_minutes: float = 0.0

    def network(self) -> nn.Module:
        """The network, untrained."""
        return build(
            self.name,
            in_frames=self.in_frames,
            out_frames=self.out_frames,
            height=self.height,
            width=self.width,
            channels=self.channels,
            size=self.size,
        )


def save_network(network: nn.Module, header: NetworkHeader, path: Path) -> Path:
    """Write the weights beside ``path`` and move them there."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    beside = path.with_name(path.name + ".part")
    save_file(tensors, beside, metadata={"format": FORMAT, **{k: str(v) for k, v in asdict(header).items()}})
    beside.replace(path)
    return path


def file_format(path: Path) -> str:
    """The format that the header of a safetensors file names, "" for none.

    Raises:
        WeightsError: not a readable safetensors file.
    """
    return read_header(path, "export it again").get("format", "")


def read_network(path: Path) -> tuple[nn.Module, NetworkHeader]:
    """The network whose weights are in ``path``, in evaluation mode.

    Raises:
        WeightsError: not such a file, or the weights do not fit the network that it names.
    """
    header = _read_header(path)
    try:
        network = header.network()
        network.load_state_dict(load_file(path))
    except (ConfigError, RuntimeError) as error:
        raise WeightsError(
            f"{path.name} does not fit the network {header.name} that it names "
            f"({str(error).splitlines()[0][:120]}); export it again"
        ) from None
    return network.eval(), header


def _read_header(path: Path) -> NetworkHeader:
    raw: dict[str, Any] = dict(read_header(path, "export it again"))
    found = raw.pop("format", "")
    try:
        for key in ("in_frames", "out_frames", "height", "width", "channels"):
            raw[key] = int(raw[key])
        for key in ("pixel_km", "interval_minutes"):
            raw[key] = float(raw.get(key, 0.0))
        header = NetworkHeader(**raw)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path.name} does not hold a network of frames: its header has format {found!r} ({error}); expected "
            f"{FORMAT!r}, as geoscope train writes it"
        ) from None
    if found != FORMAT or header.encoding not in get_args(Encoding):
        raise WeightsError(
            f"{path.name}: format {found!r} and encoding {header.encoding!r}; expected {FORMAT!r} and one of "
            f"{', '.join(get_args(Encoding))}: export it again"
        )
    return header
