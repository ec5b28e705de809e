"""Views whose kernel is restarted or ended say so, and answer nothing any more."""

import base64

import pytest
from lab_notebook import write_notebook
from playwright.sync_api import expect
from test_keyboard import CELLS, START

from gptcourse.views.files import browser_files

QUIZ = "from gptcourse.quizzes import quiz\nquiz.attention"
ENDINGS = {
    "restarted": "session => session.kernel.restart()",
    "ended": "session => session.kernel.shutdown()",
}
SESSION = "(end => end(window.jupyterapp.shell.currentWidget.sessionContext.session))"
# Controls that could still be used, and what JupyterLab would draw over a view: a broken link.
STILL_ALIVE = """output => [
    ...[...output.querySelectorAll("input, select, textarea, button, [tabindex]")]
        .filter(element => !element.disabled && !element.closest("[inert]")),
    ...[...output.querySelectorAll("*")].filter(element =>
        !["none", "normal", '""'].includes(getComputedStyle(element, "::before").content)
        && element.classList.contains("jupyter-widgets-disconnected")),
].map(element => element.outerHTML.slice(0, 99))"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_view_says_that_its_kernel_is_gone(lab, ending):
    write_notebook(lab, "94_restarted.ipynb", [START, *CELLS.values(), QUIZ])
    with lab.open("94_restarted.ipynb") as chapter:
        page = chapter.page
        chapter.run_all(seconds=120)
        outputs = []
        for number in range(1, len(CELLS) + 2):            # each view is drawn once, while it lives
            page.evaluate("n => window.jupyterapp.shell.currentWidget.content.scrollToItem(n)",
                          number)
            output = page.locator(
                f".jp-Cell[data-windowed-list-index='{number}'] .jp-OutputArea-output").first
            output.locator(".gpt, .widget-vbox").first.wait_for()
            outputs.append(output)
        page.evaluate(f"() => {SESSION}({ENDINGS[ending]})")
        for number, output in enumerate(outputs, start=1):
            page.evaluate("n => window.jupyterapp.shell.currentWidget.content.scrollToItem(n)",
                          number)
            expect(output.get_by_role("alert").first).to_contain_text("run this cell again")
            assert output.evaluate(STILL_ALIVE) == []


# What takes a view away: its notebook is closed, or its output is cleared.
PANEL = "window.jupyterapp.shell.currentWidget"
TAKEN_AWAY = {
    "by closing": f"() => {PANEL}.dispose()",
    "after a restart": f"""async () => {{
        await {PANEL}.sessionContext.session.kernel.restart();
        await window.jupyterapp.commands.execute("notebook:clear-all-cell-outputs");
    }}""",
    "after the end": f"""async () => {{
        await {PANEL}.sessionContext.session.kernel.shutdown();
        await window.jupyterapp.commands.execute("notebook:clear-all-cell-outputs");
    }}""",
}
# This second begins after that of page.js, so it also ends after it.
A_SECOND = "() => new Promise(done => setTimeout(done, 1000))"


@pytest.mark.parametrize("way", TAKEN_AWAY)
def test_a_view_that_leaves_when_no_kernel_hears_it_leaves_in_silence(lab, way):
    write_notebook(lab, "93_leaving.ipynb", [START, CELLS["ConfigExplorer"], CELLS["ModelWalk"]])
    with lab.open("93_leaving.ipynb") as chapter:
        page = chapter.page
        chapter.run_all(seconds=120)
        views = page.locator(".gpt-view, .gpt")
        page.locator(".gpt-view").wait_for()
        page.locator(".gpt").wait_for()
        page.evaluate(TAKEN_AWAY[way])
        expect(views).to_have_count(0)
        page.evaluate(A_SECOND)
        assert chapter.console_errors == []


def test_a_view_that_was_never_put_on_the_page_asks_for_no_frame_after_its_end(chromium):
    page = chromium.new_page()
    code = base64.b64encode(browser_files("page")[0].encode()).decode()
    asked = page.evaluate("""async code => {
        const later = (seconds) => new Promise(done => setTimeout(done, 1000 * seconds));
        const view = (await import(`data:text/javascript;base64,${code}`)).default();
        const real = window.requestAnimationFrame;
        let asked = 0;
        window.requestAnimationFrame = (frame) => { asked += 1; return real(frame); };
        const end = view.render({ model: {}, el: document.createElement("div") });
        await later(0.3);
        end();
        const before = asked;
        await later(0.3);
        return [before, asked];
    }""", code)
    page.close()
    assert asked[0] > 1 and asked[1] == asked[0]
