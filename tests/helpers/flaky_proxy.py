"""A way to a service over bad weather: connections through it are cut, stall or crawl, as chance has it."""

import contextlib
import random
import socket
import threading
import time


class Weather:
    """A proxy for TCP on loopback. `fates` are drawn for each connection; counts tell what really happened."""

    def __init__(self, port, fates=("fine", "fine", "fine", "cut", "stall", "crawl"), seed=1):
        self.draw = random.Random(seed)
        self.fates = fates
        self.counts = dict.fromkeys(fates, 0)
        self._target = port
        self._open = set()
        self._ended = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self):
        self._ended = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(60)
        for sock in list(self._open):
            _shut(sock)

    def _accept(self):
        while not self._ended:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            fate, limit = self.draw.choice(self.fates), self.draw.randrange(200, 120_000)
            self.counts[fate] += 1
            try:
                far = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            budget = [limit]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink, fate, budget), daemon=True).start()

    def _pass(self, source, sink, fate, budget):
        try:
            while data := source.recv(4096):
                budget[0] -= len(data)
                if budget[0] < 0 and fate == "cut":
                    break
                if budget[0] < 0 and fate == "stall":
                    time.sleep(3)
                    break
                if fate == "crawl":
                    time.sleep(0.01)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for sock in (source, sink):
                _shut(sock)
                self._open.discard(sock)


def _shut(sock):
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
