"""A headless Chromium by selenium: enough to open a page, look at it and use it."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
FLAGS += ["--disable-dev-shm-usage", "--disable-component-update", "--no-first-run"]


def find_browser() -> tuple[str, str] | None:
    """The paths of a Chromium and its driver, if both are installed."""
    browser, driver = next((path for name in NAMES if (path := shutil.which(name))), None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window; it remembers what the console and the network reported."""

    def __init__(self, browser: str, driver: str) -> None:
        options = ChromeOptions()
        options.binary_location = browser
        for flag in FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(driver))

    def open(self, page: Path, width: int, height: int = 900, *, dark: bool = False, script: bool = True) -> None:
        """Load a file in a window of a size, until what is to be seen at once is drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
        self.cdp("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme], media="")
        self.cdp("Emulation.setScriptExecutionDisabled", value=not script)
        self.driver.get(page.as_uri())
        if script:
            self.wait(f"{SEEN}.every(plot => plot.querySelector('svg[tabindex]'))")

    def cdp(self, method: str, **params: Any) -> Any:
        """A command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(method, params)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.driver.execute_script(f"return {expression}")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        WebDriverWait(self.driver, 60, poll_frequency=0.02).until(lambda _: self.js(condition))

    def draw(self, key: str) -> None:
        """Scroll to a figure, and wait until it is drawn and lies still."""
        self.js(f"document.getElementById({key!r}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.wait(f"document.querySelector('#{key} .plot svg[tabindex]')")
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the mouse, and click there."""
        actions = ActionChains(self.driver, duration=0)
        actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
        (actions.click() if click else actions).perform()

    def keys(self, *names: str) -> None:
        """Press keys, one after another."""
        ActionChains(self.driver, duration=0).send_keys(*names).perform()

    def worries(self) -> list[str]:
        """Since it was last asked: messages of the console, and requests other than for files."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [*said, *(url for url in asked if not url.startswith(("file:", "data:")))]

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        answer = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self, path: Path) -> None:
        """What print would give, on A4."""
        answer = self.cdp("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)
        path.write_bytes(base64.b64decode(answer["data"]))


SEEN = """[...document.querySelectorAll('.plot')].filter(plot => {
    const box = plot.getBoundingClientRect();
    return box.width && box.top < innerHeight && box.bottom > 0;
})"""
