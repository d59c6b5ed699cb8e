"""The pictures of the README are those that the operation draws today."""

import importlib.util


def test_the_pictures_of_the_readme_are_in_step_with_the_code(repository):
    folder = repository / "docs" / "figures"
    spec = importlib.util.spec_from_file_location("cuboid_figures", folder / "cuboids.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    text = (repository / "geoscope" / "ops" / "cuboid_attention" / "README.md").read_text(encoding="utf-8")
    for name, draw in figures.PICTURES.items():
        assert (folder / name).read_text(encoding="utf-8") == draw().svg(), (
            f"run python docs/figures/cuboids.py: {name}"
        )
        assert f"docs/figures/{name}" in text
