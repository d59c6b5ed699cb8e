"""Puts apps/ into the wheel as geoscope/_apps; an editable installation finds them in the repository."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AppsHook(BuildHookInterface):
    """Called by hatchling for each wheel, "standard" or "editable"."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the apps to a standard wheel."""
        if version == "standard":
            build_data["force_include"]["apps"] = "geoscope/_apps"
