"""The report in a real browser: its content, and its reactions to mouse and keyboard."""

import io
import json
import shutil

import numpy as np
import pytest
from matplotlib.image import imread
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from raptor_jax.report import content, flights, page
from raptor_jax.runs import analysis, layout
from tests.report.flights import made_up

pytestmark = [pytest.mark.slow, pytest.mark.browser]

STEPS = 120
MISSING = "\N{EN DASH}"
SWITCHES = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "window-size=1400,1000"),
)


# Of the session, so that nothing is made for tests that are skipped.
@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """A browser, one for all tests."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in (*SWITCHES, f"user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


def written(run, recording, directory, flown=None):
    """Writes the report of a run with these flights, and returns its address."""
    rows = range(len(recording.length)) if flown is None else flown
    packed = [flight if row in rows else None for row, flight in enumerate(flights.pack(recording))]
    path = directory / "report.html"
    path.write_text(page.assemble("Report of a run", content.of(analysis.load(run), packed)))
    return path.as_uri()


@pytest.fixture(scope="module")
def recording():
    return made_up(4, STEPS, moving=True)


@pytest.fixture(scope="module")
def address(run_of_4, recording, tmp_path_factory):
    return written(run_of_4, recording, tmp_path_factory.mktemp("report"))


@pytest.fixture
def opened(driver, address):
    """The report of four teachers, freshly loaded in a light browser."""
    prefer(driver, "light")
    driver.get_log("performance")
    driver.get(address)
    yield driver
    assert driver.get_log("browser") == []


def prefer(driver, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def element(driver, identity):
    return driver.find_element(By.ID, identity)


def all_of(driver, selector):
    return driver.find_elements(By.CSS_SELECTOR, selector)


def choose(driver, identity, value):
    Select(element(driver, identity)).select_by_value(value)


def picture(driver):
    """Returns the pixels of the view in three dimensions, [N, 4]."""
    view = element(driver, "view")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    return imread(io.BytesIO(view.screenshot_as_png), format="png").reshape(-1, 4)


def cells(driver, number):
    """Returns the texts of a column of the table, counted from 1."""
    return [cell.text for cell in all_of(driver, f"#teachers td:nth-child({number})")]


def headings(driver):
    return all_of(driver, "#teachers th button")


def heading(driver, text):
    return next(button for button in headings(driver) if button.text.startswith(text))


def test_it_describes_the_run_and_fetches_nothing(opened, address):
    assert opened.title == "Report of a run"
    assert "4 teachers, SAC at horizon 200" in element(opened, "about").text
    assert "3 of 4" in element(opened, "tiles").text
    element(opened, "run").find_element(By.XPATH, "..").click()
    assert '"steps_per_teacher"' in element(opened, "run").text
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requested = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert {url for url in requested if not url.startswith("data:")} == {address}


def test_ceilings_are_columns_only_where_they_were_searched_for(opened, run_of_4, recording, tmp_path):
    assert "ceiling" not in [button.text for button in headings(opened)]
    assert not element(opened, "ceiling-hint").is_displayed()
    run = shutil.copytree(run_of_4, tmp_path / "run")
    results = json.loads((run / layout.RESULTS).read_text())
    results["teachers"][1].update(ceiling=480.0, ceiling_return=360.0, ceiling_episodes=7)
    (run / layout.RESULTS).write_text(json.dumps(results))
    opened.get(written(run, recording, tmp_path))
    number = [button.text for button in headings(opened)].index("ceiling") + 1
    heading(opened, "teacher").click()
    for column, text in ((number, "480.0"), (number - 1, "360.0"), (number + 1, "75.0 %")):
        assert cells(opened, column) == [MISSING, text, MISSING, MISSING]
    assert element(opened, "ceiling-hint").is_displayed()
    assert "7 episodes" in element(opened, "tiles").text
    assert "75.0 %" in element(opened, "tiles").text


def test_every_chart_shows_its_data(opened):
    for identity in ("returns", "lengths"):
        titles = [title.get_attribute("textContent") for title in all_of(opened, f"#{identity} .bar title")]
        assert sum(int(title.split()[0]) for title in titles) == 4
    drawn = {
        "#map .drone": 4,
        "#map .drone.failed": 1,
        "#curves .band": 2,
        # Three coordinates, and three of the target; three angles; four motors.
        "#position .curve": 6,
        "#attitude .curve": 3,
        "#motors .curve": 4,
    }
    assert {selector: len(all_of(opened, selector)) for selector in drawn} == drawn
    for path in all_of(opened, "svg path"):
        assert "NaN" not in path.get_attribute("d")
        assert path.get_attribute("d").startswith("M")


def test_headings_sort_the_table(opened):
    assert cells(opened, 1)[0] == "0003"
    masses = cells(opened, 11)
    heading(opened, "mass").click()
    assert cells(opened, 11) == sorted(masses, key=float)
    heading(opened, "mass").click()
    assert cells(opened, 11) == sorted(masses, key=float, reverse=True)
    ordered = all_of(opened, "#teachers th[aria-sort='descending']")
    assert [cell.text.split()[0] for cell in ordered] == ["mass"]
    # What is missing goes last either way.
    for _ in range(2):
        heading(opened, "offset").click()
        assert cells(opened, 8)[-1] == MISSING


def test_every_way_to_choose_a_teacher_shows_its_flight(opened):
    def shown():
        return element(opened, "flight-text").text.split()[1], element(opened, "teacher").get_attribute("value")

    assert shown() == ("0003", "3")
    choose(opened, "teacher", "0")
    assert shown() == ("0000", "0")
    assert f"{STEPS} steps, flown to the end" in element(opened, "flight-text").text
    element(opened, "next").click()
    assert shown() == ("0001", "1")
    assert "2 steps, terminated" in element(opened, "flight-text").text
    element(opened, "previous").click()
    element(opened, "previous").click()
    assert shown() == ("0003", "3")
    point = all_of(opened, "#map .drone")[2]
    ActionChains(opened).move_to_element(point).click().perform()
    assert shown() == ("0002", "2")
    row = opened.find_element(By.CSS_SELECTOR, "#teachers tr[aria-selected]")
    assert row.text.startswith("0002")
    row.send_keys(Keys.HOME)
    assert shown() == ("0003", "3")
    opened.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    first, second = cells(opened, 1)[:2]
    assert (first, shown()[0]) == ("0003", second)
    assert opened.find_element(By.CSS_SELECTOR, ".chosen").text == f"teacher {second}"


def test_the_view_shows_the_flight_and_turns(opened):
    choose(opened, "teacher", "0")
    start = picture(opened)
    assert len(np.unique(start, axis=0)) > 20
    slider = element(opened, "time")
    slider.send_keys(Keys.END)
    assert element(opened, "clock").text == f"{(STEPS - 1) / 100:.2f} s"
    end = picture(opened)
    assert (start != end).any()
    view = element(opened, "view")
    for key in (Keys.ARROW_LEFT, Keys.ARROW_UP, "+", "-"):
        before = picture(opened)
        view.send_keys(key)
        assert (before != picture(opened)).any(), key
    ActionChains(opened).drag_and_drop_by_offset(view, 80, 30).perform()
    assert (end != picture(opened)).any()


def test_space_plays_and_pauses(opened):
    choose(opened, "teacher", "0")
    choose(opened, "speed", "0.25")
    clock, play = element(opened, "clock"), element(opened, "play")
    element(opened, "view").send_keys(Keys.SPACE)
    assert play.text == "pause"
    WebDriverWait(opened, 20).until(lambda _: clock.text > "0.05 s")
    element(opened, "view").send_keys(Keys.SPACE)
    assert play.text == "play"
    stopped = clock.text
    choose(opened, "speed", "2")
    play.click()
    WebDriverWait(opened, 20).until(lambda _: play.text == "play")
    assert clock.text == f"{(STEPS - 1) / 100:.2f} s" > stopped


def test_tab_walks_through_the_controls_in_their_order(opened):
    visited = []
    for _ in range(14):
        ActionChains(opened).send_keys(Keys.TAB).perform()
        focused = opened.switch_to.active_element
        visited.append(focused.get_attribute("id") or focused.tag_name)
    first = "theme summary map-y map-x previous teacher next play time speed view"
    assert visited[:11] == first.split()
    # Then the table: its scrolling box, where the browser lets one focus it, and the headings.
    assert "button" in visited[11:]


def test_it_is_light_or_dark_as_the_browser_prefers_and_as_the_button_says(opened):
    def brightness():
        colour = opened.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        return sum(int(part) for part in colour.removeprefix("rgba(").split(",")[:3])

    light, light_view = brightness(), picture(opened)
    prefer(opened, "dark")
    assert brightness() < 150 < 600 < light
    WebDriverWait(opened, 5).until(lambda _: (picture(opened) != light_view).any())
    element(opened, "theme").click()
    assert brightness() == light
    element(opened, "theme").click()
    assert brightness() < 150


def test_other_parameters_can_be_mapped(opened):
    points = "return [...document.querySelectorAll('#map .drone')].map(point => point.getAttribute('cx'))"
    before = opened.execute_script(points)
    Select(element(opened, "map-x")).select_by_visible_text("mass")
    masses = np.argsort([float(mass) for mass in opened.execute_script("return data.teachers.mass")])
    after = [float(place) for place in opened.execute_script(points)]
    assert after != [float(place) for place in before]
    assert np.argsort(after).tolist() == masses.tolist()


def test_the_page_unpacks_what_python_packed(opened, recording):
    for row in range(4):
        flight = opened.execute_script("return unpack(data.flights[arguments[0]])", row)
        length = recording.length[row]
        np.testing.assert_allclose(flight["position"], recording.position[row, :length], atol=2e-5)
        np.testing.assert_allclose(flight["target"], recording.target_position[row, :length], atol=2e-5)
        np.testing.assert_allclose(flight["attitude"], recording.orientation[row, :length], atol=2e-5)
        np.testing.assert_allclose(flight["motors"], (recording.action[row, :length] + 1) / 2, atol=1 / 255)


def test_a_teacher_without_a_flight_is_labelled(driver, run_of_4, recording, tmp_path):
    driver.get(written(run_of_4, recording, tmp_path, flown=[0]))
    assert "no flight of" in element(driver, "flight-text").text
    assert not element(driver, "view").is_displayed()
    choose(driver, "teacher", "0")
    assert element(driver, "view").is_displayed()
    assert driver.get_log("browser") == []


def test_a_thousand_teachers_on_wide_and_narrow_screens(driver, run_of_1000, tmp_path):
    driver.get(written(run_of_1000, made_up(1000, STEPS, moving=False), tmp_path))
    assert "999 of 1000" in element(driver, "tiles").text
    for selector in ("#map .drone", "#teachers tbody tr", "#teacher option"):
        assert len(all_of(driver, selector)) == 1000
    heading(driver, "thrust to").click()
    column = "return [...document.querySelectorAll('#teachers td:nth-child(9)')].map(cell => Number(cell.textContent))"
    values = driver.execute_script(column)
    assert values == sorted(values)
    size = "return [document.documentElement.scrollWidth, innerWidth]"
    try:
        for width in (1400, 600):
            driver.set_window_size(width, 1000)
            content_width, window_width = driver.execute_script(size)
            assert content_width <= window_width
    finally:
        driver.set_window_size(1400, 1000)
    assert driver.get_log("browser") == []
