"""What EdgeGuard is for, in the words that reports, certificates and the command line share."""

INTENDED_USE = (
    "Engineering evaluation of single-lead ECG classifiers: how accurate a model and its deployed file are on given "
    "records, and how they bear up under adversarial perturbations and sensor faults. "
    "Not for the diagnosis, monitoring or treatment of any patient. "
    "No clinical claim is made; figures hold for those records, attacks and settings alone."
)

NOT_A_MEDICAL_DEVICE = "EdgeGuard is not a medical device, and nothing that it prints is medical advice."
