"""Screenshots of the page with sample traffic, in both themes and two sizes, for the documentation."""

import time

from playwright.sync_api import expect

from simulator import CONTROL, activity, request, flood, push

ADA = "a1b2c3d4" * 8
OTHERS = [
    ("Mia’s iPhone", "Boarding in 20 minutes"), ("Test bench 3", "Backup finished"), ("Jonas", "Your table is ready"),
    ("QA red", "Build 812 is out"), ("Lena", "Parcel delivered"), ("Warehouse 7", "Shift starts at 6:00"),
]


def prepare():
    for index, (name, title) in enumerate(OTHERS):
        token = f"{0xb3 + 7 * index:02x}" * 32
        push(token, {"aps": {"alert": {"title": title, "body": "…"}}}, topic="com.example.travel")
        request(f"/devices/{token[:8]}", "PUT", {"name": name})
    request("/devices/b3b3b3b3", "PUT", {"online": False})
    push("b3" * 32, {"aps": {"alert": "Gate changed"}}, topic="com.example.travel")
    request("/devices/cfcfcfcf", "PUT", {"token_state": "unregistered"})
    push("cf" * 32, {"aps": {"alert": "Are you there?"}}, topic="com.example.travel", status="410")
    push(ADA, {"aps": {"alert": {"title": "Weekly review", "body": "Nothing urgent."}}}, topic="com.example.notes")
    request("/devices/a1b2c3d4", "PUT", {"name": "Ada’s iPhone"})


def load(page):
    """Sends traffic for the sparkline to a separate phone."""
    token = "5e" * 32
    for count in (150, 400, 300, 700, 500, 900, 650, 800):
        flood(token, {"aps": {"alert": {"title": "Load test", "body": "One of many."}}}, count).wait()
        page.wait_for_timeout(400)
    request("/devices/5e5e5e5e", "PUT", {"name": "Load test"})


def play(page):
    """Sends the sample pushes while the page is open."""
    chat = {"thread-id": "anna", "sound": "default"}
    for number, text in enumerate(["Are you coming tonight?", "We kept you a seat by the window", "And dessert!"], 1):
        push(ADA, {"aps": {"alert": {"title": "Anna", "body": text}, "badge": number, **chat}}, topic="com.example.messages")
    push(ADA, {"aps": {"content-available": 1}, "sync": "inbox"}, topic="com.example.messages", push_type="background",
         apns_priority="5")
    push(ADA, {"aps": {"alert": {"title": "Front gate", "body": "Someone rang the bell."}, "sound": "chime.caf",
                       "interruption-level": "time-sensitive"}}, topic="com.example.home", apns_collapse_id="bell")
    now = int(time.time())
    activity(ADA, "update", {"status": "Baking", "etaMinutes": 21, "stopsLeft": 4, "progress": 0.3}, timestamp=now,
             app="com.example.pizza")
    activity(ADA, "update", {"status": "On its way", "etaMinutes": 12, "stopsLeft": 2, "progress": 0.62},
             timestamp=now + 1, app="com.example.pizza")
    activity(ADA, "update", {"status": "Baking", "etaMinutes": 20, "stopsLeft": 4, "progress": 0.3}, timestamp=now,
             app="com.example.pizza")
    push(ADA, {"aps": {"alert": {"title": "Smoke detected", "body": "Kitchen. Leave the building."},
                       "sound": {"critical": 1, "name": "siren.caf", "volume": 1}}},
         topic="com.example.safehome", apns_collapse_id="smoke")
    expect(page.locator("#notes .note", has_text="Smoke detected")).to_be_visible()


def showcase(browser, folder):
    prepare()
    for size, width, height in (("desktop", 1440, 900), ("mobile", 390, 844)):
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            page.goto(f"{CONTROL}/")
            page.locator("#rows .row", has_text="Ada").click()
            expect(page.locator("#stage-name")).to_have_text("Ada’s iPhone")
            if size == "desktop":
                load(page)
            play(page)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"the page is {wide} wide on a screen of {width}"
            page.wait_for_timeout(1500)  # until animations have ended and the sparkline has points
            page.screenshot(path=f"{folder}/{size}-{theme}.png", full_page=size == "mobile")
            page.close()
