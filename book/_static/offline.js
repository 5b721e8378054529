// Opened from the disk, a page may not read other pages: the search lists its hits without a piece of their text.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
