"""A model that is too large for one device, cut into stages that run on several.

file -> wire -> graph -> costs -> order -> plan -> cut -> stages
        without its       what it takes     who runs     models that refer
        weights                             what         to the file's weights
"""
