"""Made by oldfriend.bench.decisions, seed 0: float16 in base64; see topic.py."""

EMBEDDER = "all-minilm-l6-v2@53aa51172d14"
BIAS = 0.311911
WEIGHTS = (
    "xaGvrMMs4CFwLcktizG0JsSqKrEBsTUoEyjlrpesXikJMT2wUSzxoa2w9zN+JwoxC6CfMaUuCDMvsoWyziplKvis",
    "aixeJ/6s3rJeqpsqdK0KpwCoSjAQrbaszqYAKVGooawDKVQpXa15qcamySGMLG8sbzBGspsvrK19rOwsVSvRtsKj",
    "jSg0LwUs6q0xJzWsqi+lK0Asay0uKl8lCTLUsg+oJ6h1s4+svq5yrAKv7KtGL36vNKgvs+IvrSoHLtmtzrF9IUOs",
    "lC0oJOQtIxnSMPYnpSLaqD6sUBXPp34s3SlCsGAcnyniGpMupTBWJfUqX6QeMBayrylKsp4k8xUAgH+p8ysZJbIy",
    "IyxyLLmspi97rPuoRTJmMRaZIK31sE4xZq9+GzIvhinYLXsx8altqYIomabdMXOUryvxKdysZjDIMeCyUp7GqJCs",
    "urUFrzSqYC6xLAgnmKevs3WpLCciL1GhUaqUsQ2xMR48LXCxnbFhpT8oxSzescApk63eqDsmJKyjsZCsOa1hovsr",
    "oSuvJH6rniPsNPcnpK4NLvKuErTzMEYywrI/MhUsO6yWMSyvWbDFMLSm1TC+nDM0dqcAgL0q/CiyM62v6TPfsGmt",
    "ua13KR6uyTEaq14Vu6biq50r/7AEtJqv0SMuqTAsT6gJracvPqzwMcksRyhZqDuyziljKb2rZC3mLsghzrB2sb60",
    "t58hqSKv6C4ZqPSxDa5qLecyJZT8r2Gf4q8TJdcpHTHCK2mtmihfKT6sfTDFseyljp0CqEcpA7LWpmsuGrChLBGw",
    "/a8gKeQmhagFprSstSpQNWqoXq6cM7M0BzAqklQ02i4joggyTy7CsIKxpaYBgHKk56oksVKpHzCDrreyDh+XrsSs",
    "D60lqCEyirFnLYYoM6S+oO0qXq6bKKGoizF2rHmxsJrfJ04oJqgkpDwnFDEzIioqSa0gLmiXAKmFLtUyQhFXtIMw",
    "9zAbryMd/ytmsc0worFGr2qsjqd4Ml0tki+esGQuXq1goOkxjaVytvYu",
)
