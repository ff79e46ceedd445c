"""What a watch does: samples leave a FIFO in chunks, fill a ring, and a decision is due every hop.

Needs numpy and, through `edgeguard.runtime`, ONNX Runtime; never torch.
"""
