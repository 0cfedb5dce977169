# Pages written anew from lists of their cells: C only.
