"""A program that edits at random until it is killed: `killed_edits.py FOLDER URL TRAINING_SET SEED`."""

import sys
from pathlib import Path

from tests.helpers.dataset_home import Home
from tests.helpers.fake_api import KEY
from tests.helpers.random_edits import Dice

if __name__ == "__main__":
    folder, url, number, seed = sys.argv[1:]
    home = Home(Path(folder), url, KEY, int(number))
    home.workspace.connect()
    print("ready", flush=True)
    home.edits.resume(home.workspace)
    dice = Dice(home, int(seed), whole=False, importing=False)
    while True:
        if dice.throw():
            print("edit", flush=True)
