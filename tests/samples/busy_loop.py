"""A search that goes on and on: slow, or endless?"""

from .. import package


def is_prime(number):
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True


def search(number):
    while True:
        number += 2
        if is_prime(number) and is_prime(number + 2) and is_prime(number + 4):
            return number


manager = package.TimeoutManager(60, enforce=True)
try:
    with manager.timed_operation("search", limit=2):
        search(5)
except package.PhaseTimeout as error:
    print(error)
    print(error.diagnosis)
