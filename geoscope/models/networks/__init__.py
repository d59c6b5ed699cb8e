"""The learned baselines of the Earthformer paper, small and clean, and Earthformer itself, by name.

Each file is one network: its frozen config, its presets "small" (learns on two CPU cores in minutes) and
"published" (near the published size), and the module: frames (B, T, H, W, C) in, frames (B, T_out, H, W, C) out.
"""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from geoscope.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

Size = Literal["small", "published"]
SIZES: tuple[Size, ...] = ("small", "published")

# name: (module, class); the presets are functions <module>_<size> beside the class
_HOMES = {
    "unet": ("unet", "UNet"),
    "convlstm": ("convlstm", "ConvLstm"),
    "predrnn": ("predrnn", "PredRnn"),
    "phydnet": ("phydnet", "PhyDNet"),
    "e3d-lstm": ("e3d_lstm", "E3dLstm"),
    "rainformer": ("rainformer", "Rainformer"),
    "earthformer": ("earthformer", "EarthformerFrames"),
}
NAMES: tuple[str, ...] = tuple(_HOMES)


def build(
    name: str,
    *,
    in_frames: int,
    out_frames: int,
    height: int,
    width: int,
    channels: int = 1,
    size: Size = "small",
) -> "nn.Module":
    """The network of that name, untrained, for frames of that shape: (B, T, H, W, C) -> (B, T_out, H, W, C).

    Weights start from torch's global random state: seed it for the same network again.

    Raises:
        ConfigError: an unknown name or size, or a grid that the network cannot take.
    """
    if name not in _HOMES:
        near = get_close_matches(str(name), NAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"network {name!r} is not known: choose one of {', '.join(NAMES)}{hint}")
    if size not in SIZES:
        raise ConfigError(f"size={size!r} of network {name}: choose 'small' or 'published'")
    from geoscope.models.networks.frames import Frames

    file, kind = _HOMES[name]
    module: Any = import_module(f"geoscope.models.networks.{file}")
    preset: Callable[[Frames], Any] = getattr(module, f"{file}_{size}")
    frames = Frames(in_frames=in_frames, out_frames=out_frames, height=height, width=width, channels=channels)
    return getattr(module, kind)(preset(frames))
