"""Checks the phone page in a browser while pushes arrive.

Each check is a function. The first failure ends the run with a screenshot. Screenshots are stored in the folder
GODWIT_PICTURES. Exit status 0: all checks passed.
"""

import os
import re
import sys
import time

from playwright.sync_api import expect, sync_playwright

from simulator import CONTROL, activity, request, flood, push
from showcase import showcase

PICTURES = os.environ["GODWIT_PICTURES"]
ANN = "a1b2c3d4" * 8
BOB = "b7e6f5a4" * 8
CY = "c0ffee00" * 8
# Requests that may fail: the simulator may have no scenarios, one check interrupts the event stream, and a device may be removed.
EXPECTED = ("/scenario", "/events", "/devices/phone-")
EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'


def alert(title, body="", **aps):
    members = {name.replace("_", "-"): value for name, value in aps.items()}
    return {"aps": {"alert": {"title": title, "body": body}, **members}}


def note(page, text):
    return page.locator("#notes .note", has_text=text)


def row(page, text):
    return page.locator("#rows .row", has_text=text)


def an_empty_page_shows_hints(page):
    expect(page.locator("#link-text")).to_have_text("Live")
    expect(page.locator("#hint")).to_have_text("Waiting for a push")
    expect(page.locator("#rows-more")).to_contain_text("first push")
    expect(page.locator("#clock")).to_have_text(page.locator("#small-clock").inner_text())


def a_push_appears_with_its_fields(page):
    payload = alert("Hello", "World", badge=3, sound="chime.caf", thread_id="greetings")
    payload["aps"]["alert"]["subtitle"] = "To the"
    push(ANN, payload, topic="com.example.pizza")
    shown = note(page, "Hello")
    expect(shown.locator(".title")).to_have_text("Hello")
    expect(shown.locator(".subtitle")).to_have_text("To the")
    expect(shown.locator(".body")).to_have_text("World")
    expect(shown.locator(".badge")).to_have_text("3")
    expect(shown.locator(".head b")).to_have_text("Pizza")
    expect(shown.locator(".chips")).to_contain_text("chime.caf")
    expect(shown.locator(".chips")).to_contain_text("# greetings")
    expect(shown.locator("time")).to_have_text("now")
    expect(page.locator("#hint")).to_be_hidden()
    expect(row(page, "Phone 1")).to_have_attribute("aria-current", "true")
    expect(row(page, "a1b2c3d4…").locator(".count")).to_have_text("1")
    shown.locator("button").click()
    expect(page.locator("#detail")).to_be_visible()
    expect(page.locator("#detail-payload")).to_contain_text('"thread-id": "greetings"')
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()


def the_newest_device_is_followed_until_the_user_picks_one(page):
    follow = page.locator("#follow")
    expect(follow).to_be_checked()
    push(CY, alert("Over here"))
    expect(page.locator("#stage-name")).to_have_text("Phone 2")
    expect(note(page, "Over here")).to_be_visible()
    row(page, "Phone 1").click()
    expect(follow).not_to_be_checked()
    push(CY, alert("And again"))
    expect(row(page, "And again")).to_have_count(1)
    expect(page.locator("#stage-name")).to_have_text("Phone 1")
    page.get_by_text("Follow newest").click()
    expect(page.locator("#stage-name")).to_have_text("Phone 2")
    # Two switches within the pause of 1.5 s: the last one is made up for.
    push(ANN, alert("Back here"))
    push(CY, alert("Back there"))
    push(ANN, alert("Here at last"))
    expect(page.locator("#stage-name")).to_have_text("Phone 1")
    expect(note(page, "Here at last")).to_be_visible()
    row(page, "Phone 1").click()
    expect(follow).not_to_be_checked()


def a_test_push_is_sent_to_the_selected_device(page):
    before = row(page, "Phone 1").locator(".count").inner_text()
    page.get_by_role("button", name="Send a test push").click()
    expect(note(page, "Test push")).to_contain_text("Sent at ")
    expect(page.locator("#test-note")).to_have_text("Sent by the simulator itself; no gateway runs with it")
    expect(row(page, "Phone 1").locator(".count")).to_have_text(str(int(before) + 1))


def refused_pushes_are_listed_with_reason_and_payload(page):
    lines = page.locator("#refused .line")
    expect(page.locator("#refused-empty")).to_have_text("None so far")
    push(ANN, alert("No such priority"), status="400", apns_priority="7")
    expect(lines.first).to_contain_text("BadPriority")
    expect(lines.first).to_contain_text("Phone 1")
    expect(lines.first).to_contain_text("No such priority")
    # A token that is no device.
    push("dead" * 16, EVIL, status="403", topic="com.example.pizza", authorization="bearer x")
    expect(lines.first).to_contain_text("InvalidProviderToken")
    lines.first.click()
    expect(page.locator("#detail-facts")).to_contain_text("deaddead…")
    expect(page.locator("#detail-facts")).to_contain_text("403")
    expect(page.locator("#detail-payload")).to_have_text(EVIL)
    page.keyboard.press("Escape")
    for number in range(31):
        push(ANN, alert(f"Refused {number}"), status="400", apns_priority="7")
    expect(lines.first).to_contain_text("Refused 30")
    expect(lines).to_have_count(30)
    expect(page.locator("#refused-count")).to_have_text("the last 30 of 33")
    expect(page.locator("#notes .note", has_text="Refused ")).to_have_count(0)


def interruption_levels_are_shown(page):
    push(ANN, alert("Parcel", interruption_level="time-sensitive"))
    expect(note(page, "Parcel").locator(".level")).to_have_text("Time sensitive")
    push(ANN, alert("Fire", sound={"critical": 1, "name": "siren", "volume": 1}))
    expect(note(page, "Fire").locator(".level")).to_have_text("Critical")
    expect(page.locator("#phone")).to_have_class(re.compile("^phone .*woke buzz alarm"))
    push(ANN, alert("Tip", interruption_level="passive"))
    expect(note(page, "Tip")).to_have_attribute("data-level", "passive")
    expect(note(page, "Tip").locator(".level")).to_have_count(0)


def a_collapse_id_replaces_a_notification(page):
    push(ANN, alert("Score 1:0"), apns_collapse_id="match")
    expect(note(page, "Score 1:0")).to_be_visible()
    push(ANN, alert("Score 2:0"), apns_collapse_id="match")
    expect(note(page, "Score 2:0")).to_contain_text("replaced 1×")
    expect(note(page, "Score 1:0")).to_have_count(0)


def a_thread_unfolds_by_keyboard(page):
    for number in range(1, 4):
        push(ANN, alert("Chat", f"line {number}", thread_id="chat"))
    stack = page.locator("#notes .stack")
    expect(stack).to_have_count(1)
    expect(stack).to_contain_text("line 3")
    expect(stack).to_contain_text("2 more")
    stack.locator("button").focus()
    page.keyboard.press("Enter")
    expect(note(page, "Chat")).to_have_count(3)
    page.locator("#notes .note button").last.focus()
    assert page.evaluate("document.getElementById('screen').scrollTop") == 0, "the lock screen itself scrolled"
    page.get_by_role("button", name="Fold the thread chat").click()
    expect(note(page, "Chat")).to_have_count(1)


def a_live_activity_updates_in_place_and_ends(page):
    now = int(time.time())
    activity(ANN, "start", {"etaMinutes": 12, "status": "Baking", "progress": 0.25}, timestamp=now,
             attributes_type="DeliveryAttributes", attributes={"order": "Order 2719"})
    card = page.locator("#cards .card")
    expect(card).to_contain_text("Delivery")
    expect(card).to_contain_text("Order 2719")
    fields = card.locator(".fields .field > span:nth-child(2)")
    expect(fields).to_have_text(["12", "Baking", "25 %"])
    expect(card.locator(".field small")).to_have_text(["Eta minutes", "Status", "Progress"])
    card.evaluate("card => { card.isTheSame = true }")
    activity(ANN, "update", {"etaMinutes": 4, "status": "On its way", "progress": 0.8}, timestamp=now + 1)
    expect(fields).to_have_text(["4", "On its way", "80 %"])
    assert card.evaluate("card => card.isTheSame"), "the card element was replaced"
    activity(ANN, "update", {"etaMinutes": 99, "status": "Late", "progress": 0}, timestamp=now)
    expect(page.locator("#log .line").first).to_contain_text("ignored: older than the shown update")
    expect(fields).to_have_text(["4", "On its way", "80 %"])
    activity(ANN, "update", {"etaMinutes": 3, "status": "Here", "progress": 1}, timestamp=now + 2, stale_date=now - 1)
    expect(card.locator(".state")).to_have_text("stale")
    activity(ANN, "end", {"etaMinutes": 0, "status": "Delivered", "progress": 1}, timestamp=now + 3)
    expect(card.locator(".state")).to_have_text("ended")
    expect(fields).to_have_text(["0", "Delivered", "100 %"])


def silent_pushes_are_logged(page):
    push(ANN, {"aps": {"content-available": 1}, "sync": "inbox"}, push_type="background", apns_priority="5")
    push(ANN, {"aps": {"badge": 8}}, topic="com.example.pizza")
    expect(page.locator("#badges")).to_have_text("Badges: Pizza 8")
    line = page.locator("#log .line").nth(1)
    expect(line).to_contain_text("background")
    expect(line).to_contain_text("inbox")
    expect(note(page, "inbox")).to_have_count(0)


def payloads_are_shown_as_text(page):
    push(ANN, alert(EVIL, EVIL, sound=EVIL, thread_id=EVIL, category=EVIL) | {EVIL: EVIL}, topic="com.example.evil")
    shown = note(page, "onerror").first
    expect(shown.locator(".title")).to_have_text(EVIL)
    expect(shown.locator(".body")).to_have_text(EVIL)
    shown.locator("button").click()
    expect(page.locator("#detail-payload")).to_contain_text("<script>")
    page.keyboard.press("Escape")
    activity(ANN, "start", {EVIL: EVIL}, attributes_type=EVIL, attributes={EVIL: EVIL}, alert={"title": EVIL, "body": EVIL})
    expect(page.locator("#cards .card").first.locator(".about")).to_have_text(EVIL)
    push(ANN, EVIL)
    expect(page.locator("#log .line").first).to_contain_text("<script>")
    push(BOB, alert("x"))
    request(f"/devices/{BOB[:8]}", "PUT", {"name": EVIL[:40]})
    expect(row(page, "onerror")).to_have_count(1)
    assert page.locator("img, iframe").count() == 0, "a payload has created an element"
    assert page.locator("script").count() == 1, "a payload has created a script"
    assert page.evaluate("window.pwned") is None, "a payload has run"
    request(f"/devices/{BOB[:8]}", "PUT", {"name": "Bob's phone"})


def an_offline_device_gets_the_newest_push(page):
    page.get_by_role("button", name="Go offline").click()
    expect(page.locator("#phone")).to_have_attribute("data-online", "false")
    for text in ("first", "second", "third"):
        push(ANN, alert("While away", text))
    expect(page.locator("#parked")).to_have_text("Offline · 1 waiting")
    expect(note(page, "While away")).to_have_count(0)
    page.get_by_role("button", name="Go online").click()
    expect(note(page, "While away")).to_have_count(1)
    expect(note(page, "While away").locator(".body")).to_have_text("third")
    expect(page.locator("#parked")).to_be_hidden()
    for words in ("3 stored", "2 overwritten"):
        expect(page.locator("#stage-facts")).to_contain_text(words)


def an_uninstalled_app_refuses_pushes(page):
    page.get_by_role("button", name="Uninstall").click()
    expect(page.locator("#notes .note")).to_have_count(0)
    push(ANN, alert("Uninstalled"), status="410")
    expect(page.locator("#parked")).to_contain_text("Unregistered")
    expect(page.locator("#responses")).to_contain_text("410")
    page.get_by_role("button", name="Reinstall").click()
    expect(page.locator("#parked")).to_be_hidden()
    push(ANN, alert("Back again"))
    expect(note(page, "Back again")).to_be_visible()


def devices_can_be_searched_and_selected(page):
    page.locator("#search").fill("b7e6")
    expect(page.locator("#rows .row")).to_have_count(1)
    row(page, "Bob's phone").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stage-name")).to_have_text("Bob's phone")
    expect(page.locator("#notes .title")).to_have_text(["x"])
    page.locator("#search").fill("no such device")
    expect(page.locator("#rows-more")).to_contain_text("No device")
    page.locator("#search").fill("")
    row(page, "Phone 1").click()
    expect(note(page, "Back again")).to_be_visible()


def the_page_stays_responsive_under_load(page):
    page.evaluate(
        """() => {
            window.frames = 0; window.longest = 0; let last = performance.now();
            const step = (now) => { frames += 1; longest = Math.max(longest, now - last); last = now; requestAnimationFrame(step); };
            requestAnimationFrame(step);
        }"""
    )
    load = flood(ANN, alert("Flood", "one of thousands"), 5000)
    clicks = 0
    while load.poll() is None:
        page.locator("#theme").click()
        clicks += 1
    output = load.stdout.read()
    assert "5000 succeeded" in output, output
    push(ANN, alert("After the flood"))
    expect(note(page, "After the flood")).to_be_visible()
    expect(page.locator("#notes .note")).to_have_count(30)
    expect(page.locator("#strip-requests")).to_have_text(f"{request('/counters')['requests']:,}")
    size = page.evaluate("document.querySelectorAll('*').length")
    frames, longest = page.evaluate("[window.frames, window.longest]")
    print(f"flood: {clicks} clicks handled, {frames} frames, the longest {longest:.0f} ms, {size} elements")
    assert size < 2000, f"{size} elements in the document"
    assert longest < 5000, f"the page was blocked for {longest:.0f} ms"
    for number in range(150):
        if number % 50 == 0:
            page.locator("#clock").inner_text()
        request(f"/devices/{number:064x}", "PUT", {"name": f"Bench {number}"})
    expect(page.locator("#rows .row")).to_have_count(100)
    expect(page.locator("#rows-more")).to_have_text("and 53 more")


def the_event_stream_reconnects(page):
    page.route("**/events*", lambda route: route.abort())
    row(page, "Bench 149").click()
    expect(page.locator("#link-text")).to_have_text("Reconnecting")
    push(f"{149:064x}", alert("In the meantime"))
    page.unroute("**/events*")
    expect(page.locator("#link-text")).to_have_text("Live")
    row(page, "Bench 149").click()
    expect(note(page, "In the meantime")).to_be_visible()
    expect(page.locator("#rows .row")).to_have_count(100)


def a_reloaded_page_opens_the_newest_phone(page):
    for number in range(997):  # with the others all that the simulator keeps
        request(f"/devices/{number:064x}", "PUT", {"name": f"Bench {number}"})
    push(ANN, alert("The newest"))
    held = []
    page.route("**/events*", lambda route: held.append(route), times=1)
    page.reload()
    expect(page.locator("#rows-more")).to_have_text("Loading")
    expect(page.locator("#stage-name")).to_have_text("Loading")
    expect(page.locator("#hint")).to_have_text("Loading")
    expect(page.locator("#strip-devices")).to_have_text("–")
    held[0].continue_()
    expect(note(page, "The newest")).to_be_visible()
    expect(page.locator("#stage-name")).to_have_text("Phone 1")
    expect(row(page, "Phone 1").first).to_have_attribute("aria-current", "true")
    expect(page.locator("#strip-devices")).to_have_text("1,000")
    push(BOB, alert("Newer"))
    expect(page.locator("#stage-name")).to_have_text("Bob's phone")
    expect(note(page, "Newer")).to_be_visible()


def the_newest_phone_is_shown_while_devices_come_and_go(page):
    """With more devices than the simulator keeps, the selected one is removed again and again."""
    page.evaluate("""() => {
        window.empty = [];
        new MutationObserver(() => {
            const name = document.getElementById("stage-name").textContent;
            if (name === "No device yet") empty.push(name);
        }).observe(document.getElementById("stage-name"), { childList: true, characterData: true, subtree: true });
    }""")
    before = page.locator("#stage-name").inner_text()
    for number in range(2500):
        request(f"/devices/{number:08x}{'ab' * 28}", "PUT", {"name": f"Crowd {number}"})
        if number % 100 == 0:
            page.locator("#clock").inner_text()
    expect(page.locator("#stage-name")).to_have_text("Crowd 2499")
    assert before != "Crowd 2499"
    assert page.evaluate("window.empty") == [], "the page lost its device"
    page.reload()
    expect(page.locator("#stage-name")).to_have_text("Crowd 2499")
    expect(page.locator("#follow")).to_be_checked()


def scenarios_are_buttons(page):
    names = [scenario["name"] for scenario in request("/scenarios")]
    button = page.locator("#scenarios button", has_text="flaky")
    expect(page.locator("#scenarios button")).to_have_count(len(names))
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert request("/scenario")["name"] == "flaky"
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert request("/scenario")["name"] is None


def a_reset_empties_the_page(page):
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#rows .row")).to_have_count(0)
    expect(page.locator("#notes .note")).to_have_count(0)
    expect(page.locator("#strip-requests")).to_have_text("0")
    expect(page.locator("#refused .line")).to_have_count(0)
    expect(page.locator("#stage-name")).to_have_text("No device yet")
    page.get_by_role("button", name="Send a test push").click()
    expect(note(page, "Test push")).to_be_visible()
    expect(page.locator("#stage-name")).to_have_text("Phone 1")
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#rows .row")).to_have_count(0)
    push(ANN, alert("After the reset"))
    expect(note(page, "After the reset")).to_be_visible()
    expect(page.locator("#stage-name")).to_have_text("Phone 1")


def every_control_has_a_name(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, [role]")].filter((element) => element.checkVisibility())
            .filter((e) => !(e.ariaLabel || e.getAttribute("aria-labelledby") || e.textContent.trim() || e.closest("label")?.textContent.trim()))
            .map((element) => element.outerHTML)"""
    )
    assert not nameless, f"without a name: {nameless}"


def text_is_readable(page):
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1 for all text colors on panels, in both themes."""
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        for ink in ("ink", "ink-2", "ink-3", "tint", "good", "warn", "bad"):
            ratio = page.evaluate(
                """(ink) => {
                    const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
                    const value = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
                    const light = (...names) => {
                        for (const name of names) { paint.fillStyle = value(name); paint.fillRect(0, 0, 1, 1); }
                        return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
                            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
                            .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
                    };
                    const [low, high] = [light("ground", "panel", ink), light("ground", "panel", "tint-soft")].sort((a, b) => a - b);
                    return (high + 0.05) / (low + 0.05);
                }""",
                ink,
            )
            assert ratio >= 4.5, f"{ink} on a panel in the {theme} theme has a contrast of {ratio:.2f}"


CHECKS = [
    an_empty_page_shows_hints, a_push_appears_with_its_fields, the_newest_device_is_followed_until_the_user_picks_one,
    a_test_push_is_sent_to_the_selected_device, refused_pushes_are_listed_with_reason_and_payload, interruption_levels_are_shown, a_collapse_id_replaces_a_notification,
    a_thread_unfolds_by_keyboard, a_live_activity_updates_in_place_and_ends,
    silent_pushes_are_logged, payloads_are_shown_as_text, an_offline_device_gets_the_newest_push,
    an_uninstalled_app_refuses_pushes, devices_can_be_searched_and_selected, every_control_has_a_name, text_is_readable,
    the_page_stays_responsive_under_load, the_event_stream_reconnects,
    a_reloaded_page_opens_the_newest_phone, the_newest_phone_is_shown_while_devices_come_and_go, scenarios_are_buttons,
    a_reset_empties_the_page,
]


def main():
    failures = []
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root and in most containers. The browser loads only the phone page.
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.set_default_timeout(20_000)
        expect.set_options(timeout=20_000)
        page.on("pageerror", lambda error: failures.append(f"page error: {error}"))
        page.on("console", lambda message: failures.append(f"console error: {message.text}")
                if message.type == "error" and not any(name in message.location.get("url", "") for name in EXPECTED) else None)
        page.on("request", lambda request: failures.append(f"the page requested {request.url}")
                if not request.url.startswith((CONTROL, "data:")) else None)
        page.goto(f"{CONTROL}/")
        for check in CHECKS:
            try:
                check(page)
                assert not failures, failures
                print(f"ok: {check.__name__.replace('_', ' ')}")
            except Exception as failure:  # noqa: BLE001 - report the name of the check
                page.screenshot(path=f"{PICTURES}/failure.png")
                print(f"FAILED: {check.__name__.replace('_', ' ')}: {failure}", file=sys.stderr)
                return 1
        page.close()
        showcase(browser, PICTURES)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
