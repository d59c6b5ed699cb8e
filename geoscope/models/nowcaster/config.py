"""The settings of the compact nowcaster."""

from dataclasses import dataclass

from geoscope.errors import ConfigError
from geoscope.models.earthformer.config import EarthformerConfig

# Of a frame: mean and maximum, share with data, age, speed, and two planes of the data's scale.
FRAME_CHANNELS = 7
GRID_MULTIPLE = 16  # the coarsest level of the body works on a sixteenth of the resolution


@dataclass(frozen=True, kw_only=True)
class NowcasterConfig:
    """A nowcaster: convolutions down to a quarter of the resolution, an Earthformer ``body`` below, a readout by lead.

    preset: the name under which `presets.PRESETS` builds this config again.
    body: reads frames at a quarter of the resolution and answers at an eighth, on any grid.
    thresholds_mm_h: whose exceedance is forecast, rising.
    widths: channels of the stem at full, half and quarter resolution.
    hand_over: channels that the convolutions hand to the body beside the frames.
    condition: width of the vector that tells the readout the lead and the data's scale. readout: its last channels.
    scales_px: Gaussian widths at which the last frame is carried forward beside itself.
    slot_steps: model steps from one slot of the body's output to the next.
    tile, overlap: of the body on larger grids, in pixels.
    """

    preset: str
    body: EarthformerConfig
    thresholds_mm_h: tuple[float, ...]
    widths: tuple[int, int, int] = (24, 48, 72)
    hand_over: int = 16
    condition: int = 64
    readout: int = 32
    scales_px: tuple[float, ...] = (1.5, 4.0, 10.0)
    slot_steps: int = 2
    tile: int = 1024
    overlap: int = 256

    def __post_init__(self) -> None:
        if list(self.thresholds_mm_h) != sorted(set(self.thresholds_mm_h)) or self.thresholds_mm_h[0] <= 0:
            raise ConfigError(f"thresholds_mm_h={self.thresholds_mm_h} must be positive and rise")
        if self.body.final_upsample or self.body.positions != "t":
            raise ConfigError(
                "the nowcaster's body needs final_upsample=False and positions='t': it reads any grid"
            )
        channels = FRAME_CHANNELS + self.hand_over
        if self.body.input_shape[3] != channels:
            raise ConfigError(
                f"the nowcaster's body reads {channels} channels, not {self.body.input_shape[3]}: {FRAME_CHANNELS} of "
                f"the frames and hand_over={self.hand_over}"
            )
        unit = GRID_MULTIPLE
        if self.tile % unit or self.overlap % unit or not 0 < self.overlap < self.tile:
            raise ConfigError(
                f"tile={self.tile} and overlap={self.overlap} must be multiples of {unit}, overlap < tile"
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
