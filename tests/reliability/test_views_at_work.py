"""Views break nothing: a quick look at what a longer command tries for long."""

import views_at_work
from views.samples import MAKERS

from gptcourse import views
from gptcourse.views.base import View


def test_views_that_move_while_a_cell_trains_change_nothing_and_are_right():
    tried, lost = views_at_work.moved_while_a_cell_trains(n_steps=20, moves=6)
    assert tried == 26 and lost == []


def test_no_view_touches_the_random_numbers_of_others():
    tried, lost = views_at_work.random_numbers_left_alone(moves=2)
    assert tried == len(MAKERS) and lost == []


def test_updates_of_every_view_leave_nothing_behind():
    tried, lost = views_at_work.updates_of_every_view(n_updates=5, warm_up=2)
    of_the_kernel = [name for name in MAKERS if issubclass(getattr(views, name), View)]
    assert tried == 5 * len(of_the_kernel) > 5 and lost == []


def test_trainings_in_one_kernel_leave_nothing_behind():
    tried, lost = views_at_work.trainings_in_one_kernel(n_runs=3)
    assert tried == 3 and lost == []
