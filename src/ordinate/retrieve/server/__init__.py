"""An index and an encoder behind HTTP: bounded in what it takes in, in what waits and in how long anything lasts."""
