"""File syntax only: MRC, STAR, cryoSPARC ``.cs``, cryoDRGN pickles, PLY. No torch, no physics."""
