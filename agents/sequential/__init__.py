"""Tests that may be looked at as often as one likes: the chance of a wrong claim holds over the whole life of a rollout.

Each test here is an e-process: a bet against a null hypothesis that is fair while the hypothesis holds, so that by Ville's
inequality its capital ever reaches `1 / level` with a chance of at most `level`, whenever one looks and whenever one stops
(Johari, Koomen, Pekelis and Walsh, 2022, Always Valid Inference, Operations Research 70(3); Howard, Ramdas, McAuliffe and
Sekhon, 2021, Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49(2); Ramdas, Gruenwald,
Vovk and Shafer, 2023, Game-theoretic statistics and safe anytime-valid inference, Statistical Science 38(4)). Everything is
in logarithms.

`shares`      two versions' shares of failures, of wrong or of slow answers, on the same periods: exact at any sample size
`pairs`       the same, where both versions answered the same requests
`means`       means of anything: holds from some hundred values on
`allocation`  whether the traffic was split as it was meant to be: exact

Arrays run along periods, last axis; whatever is before it are so many rollouts at once. A single rollout is the same code.
"""
