"""What tests of several folders share: random programs and their slow twins, small trainings, data,
pages.
"""
