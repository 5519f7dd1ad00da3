"""The controls of a run: is the map true?"""
