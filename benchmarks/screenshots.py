"""Pictures of the web chat for docs/: a real conversation with the models of `dvc repro`.

python -m benchmarks.screenshots --models models --out docs/pictures
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmarks.serve import Serving

TALK = (
    "My cat is called Miro.", "I moved to Porto last week.", "What is my cat called?",
    "Where do I live?",
)  # fmt: skip


def main() -> None:
    """Light on a desk, dark on a phone."""
    from playwright.sync_api import sync_playwright

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=Path, default=Path("models"))
    options.add_argument("--out", type=Path, default=Path("docs/pictures"))
    asked = options.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Serving(asked.models, Path(folder) / "data", ["ada"]) as server,
        sync_playwright() as playwright,
    ):
        for text in TALK:
            print(text, "->", server.talk("ada", text)[0])
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        shots = (
            ("chat-desk", "light", {"width": 1100, "height": 640}),
            ("chat-phone", "dark", {"width": 390, "height": 760}),
        )
        for name, scheme, size in shots:
            tab = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
            tab.add_init_script(f"sessionStorage.setItem('oldfriend-key', '{server.keys['ada']}')")
            tab.goto(server.url)
            tab.wait_for_selector("html[data-ready=yes]")
            if name == "chat-desk":
                tab.get_by_role("button", name="Why?").click()
                tab.get_by_label("Your message").fill("What is my cat called?")
                tab.keyboard.press("Enter")
                tab.get_by_text("Why I said that").last.click()
                tab.get_by_role("button", name="Memory", exact=True).click()
                tab.get_by_text("remembered").wait_for()
            tab.screenshot(path=asked.out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
