"""The spine: a claim is a comparison and a predicate over its table.

`Task` measures an `Arm`; a `Comparison` runs arms over seeds under one budget and gives a `Table`; a `Claim` puts `Bar`s on that table; `check_paper` gives `Evidence`.
"""
