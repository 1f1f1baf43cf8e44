"""API Torch Desktop: curate images for a classifier, and classify by drag and drop.

Glossary (one word for one thing)
    training set      named collection of labels; its slug names its classifier
    label             a class of a training set, snake_case; holds training images
    training image    an image under a label; id `ti_` + 40 hex digits
    classifier        answers about an image: `safe-for-work`, `extract-text`, `design-score`, or a training set's
    classification    one classifier's answer about one image
    feedback          a correction of a classification, or a message
    embedding         1,536 numbers the encoder makes of an image
    head              what training fits on embeddings: logistic regression, a temperature, a memory of hard images
    confidence        the calibrated probability of an answer, and its word ("high")
    thumbnail         a small JPEG of an image: upright, sRGB, no profile
    owner             whom training sets and API keys of a service belong to; the local one is always there
    blob              the bytes of an image, stored once by their sha256, whoever refers to them
    revision          a number of a training set that grows with each change of its images or labels
    connection        a base URL with its key; the embedded service is one
    transfer          a journalled batch of uploads or downloads
    job               plain Python run on a QThread lane

Layers, each calling only downwards
    cli               the command; commands, batch and terminal are what its subcommands do and say
    ui                the window; the only room with Qt; knows the service as a process and over HTTP
    dataset | service what a person does to a training set | an API Torch service
    api | vision      wire types and client | from pixels to answers
    paths | syncing   where things are on this machine | files brought to the disk together
"""

__version__ = "0.1.0"
