# Leaf and branch pages as bytes: C only.
