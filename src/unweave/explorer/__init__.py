"""The explorer: a run in the browser, its data as points and its factors as sliders."""
