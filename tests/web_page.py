"""Operates the page of `kgated web` as a user does."""

import csv

import numpy as np


def opened(browser, address, **options):
    """A loaded page, with lists of its console messages and of its requests."""
    page = browser.new_page(**options)
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(f"{address}/index.html")
    page.wait_for_selector("html[data-state]", timeout=60_000)
    return page


def wait_for_message(page, text):
    page.wait_for_function(f"document.getElementById('message').textContent.includes('{text}')")


def saved_outputs(page, folder):
    """The outputs that the page lets the user save, (T, O)."""
    with page.expect_download() as download:
        page.click("#save")
    path = folder / "outputs.csv"
    download.value.save_as(path)
    with path.open() as file:
        header, *rows = csv.reader(file)
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    return header[1:], np.array([row[1:] for row in rows], np.float32)
