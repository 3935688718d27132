# The embedded stack as the customer's side: the same outputs as the modules for clouds, so that a
# configuration tried here needs another `source` and no other change.

resource "strongroom_stack" "this" {}
