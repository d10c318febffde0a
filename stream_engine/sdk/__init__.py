"""What users of the Python SDK touch, and the execution of their code.

Declarations (`engine`, `function`, `options`, `events`) become data that decisions go by. The executor (`executor`,
`execution`) performs what was decided: it runs functions, and reports what their steps did. It decides nothing and stores
nothing; whatever it loses, the core hands it again.
"""
