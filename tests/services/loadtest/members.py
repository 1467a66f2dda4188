"""What members of a crew do in tests; a module of its own, for another process imports it."""

import os


def finish_at_once(channel, task):
    start = channel.wait_to_go()
    channel.tell(said=task)
    channel.finish(start=start)


def fail(channel, task):
    channel.wait_to_go()
    raise ValueError(task)


def vanish(channel, task):
    channel.wait_to_go()
    os._exit(task)


def wait_for_ever(channel, task):
    channel.wait_to_go()
    while not channel.is_told_to_end():
        pass


def hear_nothing(channel, task):
    channel.wait_to_go()
    while True:
        pass


def tell_for_ever(channel, task):
    channel.wait_to_go()
    while True:
        channel.tell(said=task)
