"""Edits: changes of training sets that can be undone, sent to the service in order, and survive any interruption.

An edit is one change that the user made: photos moved to a label, a label renamed, a training set deleted, an import.
It is written to a journal before anything is sent, with a `Placement` for each image (from which label to which) and a
payload for its kind. Undo runs the same edit backwards. Where the service has the extensions `images` and `labels`, most
edits are a few calls; with the documented calls alone an image changes its label by download, upload, confirmation, and
only then deletion of the original. Deleted images go to the trash of this machine first.

Modules in reading order:

    model          kinds, stages, placements, outcomes: the records that all modules share
    payloads       the data of each kind of edit
    journal        all of it in SQLite, and the handles that lead to the current ids of images
    trash          content of deleted images
    content_packs  many of them in few files
    history        `EditHistory`, what callers use: one method for each kind of edit, undo, redo, resume, trash
    runner         `EditRunner`, the state machine below
    executor       one run of one edit: labels, training sets, feedback
    image_mover    its images: move, move by copy, restore, delete
    image_ops      download, upload and delete, each journalled before it runs
    label_index    the images under each label, as the service lists them
    reconcile      what an interrupted run left: locates the images, removes leftover copies
    dismiss        dismissed findings of Review as edits
    conflicts      photos that someone else deleted or moved before the edit was sent

Stages (`EditStage`) and the methods of `EditRunner` that change them:

                                    undo
    new edit -----> WAITING ------------------------> UNDONE
                     |  ^   <------------------------   ^
              _apply |  |           redo                |
                     |  | _park                         | _complete
                     v  |      _roll_back; undo         |
                    DOING --------------------------> UNDOING ----> REFUSED
                     |      <-------------------------  ^     _complete after _roll_back;
                     |           _retry_reversed        |     _abandon: both ways failed
           _complete |                                  |
                     v              undo                |
                    DONE -------------------------------+
                     ^
                     | UndoableImports.finish
    import -------> BEGUN

An edit is parked if the service is unreachable and nothing was sent; it is rolled back if it cannot be done, and goes
from DOING to REFUSED at once if there is nothing to roll back. In DOING and UNDOING, an edit whose service becomes
unreachable stays as it is (`_keep_unfinished`) until `resume`; an undo that the service refuses for the moment goes back
to DONE if nothing was sent. A refused new edit is dropped from the journal; a refused redo becomes UNDONE again.
Dismissals are DONE or UNDONE at once.

A new kind of edit takes a member of `EditKind`, a payload in `payloads`, a method of `EditHistory`, and a case in
`EditExecutor.execute` if it does more than move images between labels and the trash.
"""
