"""The settings of the compact nowcaster."""

from dataclasses import dataclass

from geoscope.errors import ConfigError
from geoscope.models.earthformer.config import EarthformerConfig


@dataclass(frozen=True, kw_only=True)
class NowcasterConfig:
    """A nowcaster around an Earthformer ``body`` that works at a quarter of the resolution on any grid.

    preset: the name under which `presets.PRESETS` builds this config again.
    thresholds_mm_h: whose exceedance is forecast, rising.
    scales_px: Gaussian widths at which the last frame is carried forward beside itself.
    hidden: width of the per-pixel network. slot_steps: model steps from one slot of the body's output to the next.
    pad_to: the grid is filled up to a multiple of this for the body. tile, overlap: of the body on larger grids.
    """

    preset: str
    body: EarthformerConfig
    thresholds_mm_h: tuple[float, ...]
    scales_px: tuple[float, ...] = (1.5, 4.0, 10.0)
    hidden: int = 48
    slot_steps: int = 2
    pad_to: int = 64
    tile: int = 1024
    overlap: int = 256

    def __post_init__(self) -> None:
        if list(self.thresholds_mm_h) != sorted(set(self.thresholds_mm_h)) or self.thresholds_mm_h[0] <= 0:
            raise ConfigError(f"thresholds_mm_h={self.thresholds_mm_h} must be positive and rise")
        if self.body.final_upsample or self.body.positions != "t":
            raise ConfigError(
                "the nowcaster's body needs final_upsample=False and positions='t': it reads any grid"
            )
        if self.tile % self.pad_to or self.overlap % self.pad_to or not 0 < self.overlap < self.tile:
            raise ConfigError(
                f"tile={self.tile} and overlap={self.overlap} must be multiples of pad_to={self.pad_to}, overlap < tile"
            )

    @property
    def history(self) -> int:
        """Past frames that the model sees."""
        return self.body.input_shape[0]

    @property
    def slots(self) -> int:
        """Slots at which the body gives features."""
        return self.body.target_shape[0]

    @property
    def reach(self) -> int:
        """The longest lead, in model steps."""
        return self.slots * self.slot_steps

    @property
    def features(self) -> int:
        """Channels of these features."""
        return self.body.target_shape[3]
