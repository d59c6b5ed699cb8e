"""The frame that all pages share: header with the switch between them, steps at the left, keys, light and dark.

Every style sheet, script and font comes from this server: panel-material-ui carries Roboto and the Material icons, and
nothing here names another host.
"""

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel.io.resources import LOCAL_DIST

from geoscope.viz.colours import Theme

TITLES = {
    "nowcast": "Nowcast",
    "scenarios": "Scenarios",
    "segment": "Segment",
    "cuboids": "Cuboids",
    "enso": "El Niño",
}
PRIMARY = {"light": "#0b5cad", "dark": "#82b7f0"}
HEADER = "#0b2f55"
SIDEBAR_WIDTH = 292

THEME = {
    theme: {
        "palette": {"primary": {"main": PRIMARY[theme]}},
        "typography": {"fontSize": 13, "h3": {"fontSize": "1.15rem", "fontWeight": 700}},
        "components": {
            "MuiToolbar": {"styleOverrides": {"root": {"minHeight": "48px !important"}}},
            **{
                name: {"styleOverrides": {"root": {"textTransform": "none", "letterSpacing": "0.01em"}}}
                for name in ("MuiButton", "MuiToggleButton", "MuiTab")
            },
            # Panel puts tooltips to the right of a button, over the next one: below it they hide nothing that is next.
            "MuiTooltip": {
                "defaultProps": {"disableInteractive": True},
                "styleOverrides": {
                    "tooltip": {"whiteSpace": "nowrap"},
                    "tooltipPlacementRight": {"position": "relative", "top": "30px", "left": "-36px"},
                    "arrow": {"display": "none"},
                },
            },
            "MuiAppBar": {
                "styleOverrides": {
                    "root": {"backgroundColor": f"{HEADER} !important", "color": "#ffffff !important"}
                }
            },
        },
    }
    for theme in ("light", "dark")
}

# Until the page is drawn there is its header, and a thin line that moves along the top edge in place of Panel's wheel
# in the middle. On a narrow screen the steps lie over the page, so they wait there until they are asked for.
CSS = f"""
body {{ overflow: hidden; }}
body:not(.geoscope-ready)::before {{ content: ""; position: fixed; inset: 0 0 auto 0; height: 52px; z-index: -1;
  background: {HEADER}; }}
#loader {{ background: none !important; pointer-events: none; }}
#loader:not(.error) {{ height: 3px; overflow: hidden; align-items: flex-start; }}
#loader:not(.error) .spinner {{ box-sizing: border-box; width: 30%; height: 3px; border: 0; border-radius: 0;
  background: {PRIMARY["dark"]}; animation: geoscope-opens 1.6s ease-in-out infinite alternate; }}
@keyframes geoscope-opens {{ from {{ transform: translateX(0); }} to {{ transform: translateX(233%); }} }}
@media (prefers-reduced-motion: reduce) {{ #loader .spinner {{ width: 100% !important; animation: none !important; }} }}
@media (prefers-color-scheme: dark) {{ body:not(.geoscope-ready) {{ background: #10161c; }} }}
@media (max-width: 599px) {{ body:not(.geoscope-ready) .MuiDrawer-root {{ display: none !important; }} }}
"""

# A page whose tab is hidden does not tick; a tick waits until the server has answered the one before.
_KEYS_ESM = """
export function render({model, el, view}) {
  const page = view.model.document.roots().find((root) => root.class_name == "Page")
  if (page && !document.body.classList.contains("geoscope-ready")) {
    const change = {}
    if (window.innerWidth < 600) change.sidebar_open = false
    if (window.matchMedia("(prefers-color-scheme: dark)").matches) change.dark_theme = true
    if (change.dark_theme) for (const part of page.references()) { // also what is drawn later, as in tabs put away
      if (part !== page.data && "dark_theme" in part.properties) part.setv({dark_theme: true}, {sync: false})
    }
    page.data.setv(change)
    requestAnimationFrame(() => document.body.classList.add("geoscope-ready"))
  }
  let timer = null
  const typing = (path) => path.some((node) => node instanceof Element && (
    node.matches("input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable=true]") ||
    ["slider", "listbox", "option", "combobox", "tab", "menuitem"].includes(node.getAttribute("role") ?? "") ||
    (node.matches("input[type=range]"))))
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.composedPath())) return
    const onButton = event.composedPath().some((node) => node instanceof HTMLButtonElement)
    if (!model.keys.includes(event.key) || (onButton && event.key == " ")) return
    event.preventDefault()
    model.send_msg({key: event.key})
  }
  const beat = () => {
    clearInterval(timer)
    if (!model.is_ticking) return
    timer = setInterval(() => {
      if (document.hidden || model.sent > model.answered) return
      model.sent = model.answered + 1
    }, model.interval)
  }
  document.addEventListener("keydown", pressed)
  model.on("is_ticking", beat)
  model.on("interval", beat)
  model.on("remove", () => { clearInterval(timer); document.removeEventListener("keydown", pressed) })
  beat()
  el.style.display = "none"
}
"""


class KeysAndClock(pn.custom.JSComponent):
    """Tells the server of keys pressed outside of inputs, and ticks while `is_ticking`, never faster than it is heard.

    It also fits the page to the browser before the first look: dark where that is preferred, and with the steps put
    away where the screen is narrow.
    """

    keys = param.List(default=[], item_type=str)
    is_ticking = param.Boolean(default=False)
    interval = param.Integer(default=500, bounds=(20, None), doc="milliseconds")
    sent = param.Integer(default=0)
    answered = param.Integer(default=0)

    _esm = _KEYS_ESM

    def __init__(self, on_key: Callable[[str], None], on_tick: Callable[[], None], **params: Any) -> None:
        super().__init__(**params)
        self._on_key, self._on_tick = on_key, on_tick

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, dict) and data.get("key") in self.keys:
            self._on_key(data["key"])

    @param.depends("sent", watch=True)
    def _ticked(self) -> None:
        if self.sent > self.answered:
            if self.is_ticking:
                self._on_tick()
            self.answered = self.sent


def step(number: int, title: str, *content: Any) -> pmui.Column:
    """One numbered step of the sidebar."""
    heading = pn.pane.HTML(
        f'<h2 class="step"><span>{number}</span>{html.escape(title)}</h2>',
        stylesheets=[
            ".step{font:600 14px/20px Roboto,sans-serif;margin:0;display:flex;gap:8px;align-items:center}"
            ".step span{width:20px;height:20px;border-radius:50%;text-align:center;font-size:12px;"
            "background:var(--panel-primary-color);color:var(--panel-on-primary-color)}"
        ],
        margin=(10, 12, 2, 12),
        sizing_mode="stretch_width",
    )
    return pmui.Column(heading, *content, sizing_mode="stretch_width", margin=0, css_classes=["step-box"])


def page_switch(current: str, pages: Sequence[str]) -> list[Any]:
    """Links to the other pages of this server; nothing when there is only one."""
    others = [name for name in pages if name in TITLES]
    if len(others) < 2:
        return []
    return [
        pmui.Button(
            label=TITLES[name],
            href=f"./{name}",
            variant="outlined" if name == current else "text",
            disabled=name == current,
            size="small",
            color="light",
            sx={"&.Mui-disabled": {"color": "#ffffff", "borderColor": "#ffffff80"}},
            margin=(4, 2),
        )
        for name in others
    ]


def pages_beside(app: Path) -> list[str]:
    """Which pages are served together: the apps in the folder of this one."""
    return [name for name in TITLES if (app.parent / f"{name}.py").exists()]


def begin() -> None:
    """What every page says to Panel before it makes anything."""
    pn.extension(notifications=False, respect_explicit_sizing=True)
    # Bokeh forgets a session whose browser is slow to connect and makes it anew, without this: its style sheets would
    # then be asked for on another host.
    if pn.state.curdoc is not None:
        pn.state.curdoc.template_variables.setdefault("dist_url", LOCAL_DIST)


class Shell:
    """A page: ``steps`` at the left, ``main`` in the middle, and one component for keys and clock.

    `page` is what to serve; `theme` is "light" or "dark", and ``on_theme(theme)`` hears when it changes.
    """

    def __init__(
        self,
        name: str,
        pages: Sequence[str],
        steps: Sequence[Any],
        main: Sequence[Any],
        keys: KeysAndClock,
        on_theme: Callable[[Theme], None],
    ) -> None:
        self._on_theme = on_theme
        self.page = pmui.Page(
            title=f"geoscope  {TITLES[name]}",
            meta_title=f"geoscope {TITLES[name]}",
            meta_name=f"geoscope {TITLES[name]}",
            header=[pmui.Row(*page_switch(name, pages), margin=(0, 16))] if page_switch(name, pages) else [],
            sidebar=[keys, pmui.Column(*steps, sizing_mode="stretch_width", margin=(0, 0, 16, 0))],
            sidebar_width=SIDEBAR_WIDTH,
            sidebar_resizable=False,
            main=list(main),
            theme_config=THEME,
            raw_css=[CSS],
            busy_indicator=None,
            site_url="#",
        )
        self.page.param.watch(lambda event: on_theme(self.theme), "dark_theme")

    @property
    def theme(self) -> Theme:
        """ "light" or "dark", as the user has it now."""
        return "dark" if self.page.dark_theme else "light"
