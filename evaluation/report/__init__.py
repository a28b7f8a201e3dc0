"""The report: one self-contained HTML page of a run or an ablation, and each of its figures as PNG, CSV and LaTeX.

Everything is read from the files that stages write; nothing is generated or scored again. `collect.collect` reads,
`charts` says what is drawn, `rollouts` and `pack` put the rollouts into a form that a browser opens in parts, and
`write.write_report` writes the folder.
"""
