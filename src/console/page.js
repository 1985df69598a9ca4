'use strict';
// Output arrives as `show(0,'...')`, one call a piece: text with its markup, appended to column 0. Nothing
// that is there is parsed again. Lines go to blocks of bounded size, and blocks out of sight cost
// nothing.
const BLOCK = 32768;
const NEWLINE = '&NewLine;';
// From this part of a column's height on, scrolling down is meant to reach the end. The end itself
// moves on while output arrives, and may never be caught.
const NEARLY = 0.25;

class Column {
  constructor(pre) {
    this.pre = pre;
    this.text = pre.appendChild(document.createElement('div'));
    this.block = null;
    this.length = 0;
    this.follows = true;
    this.top = 0;
    pre.classList.add('follows');
    pre.addEventListener('scroll', () => this.scrolled());
    // Tells of output, of blocks that come into sight with their true height, and of a
    // column that is resized: after layout and before anything is painted.
    const sizes = new ResizeObserver(() => this.resized());
    sizes.observe(this.text);
    sizes.observe(pre);
  }

  append(html) {
    if (!this.block || this.length > 4 * BLOCK) {
      this.block = this.text.appendChild(document.createElement('div'));
      this.length = 0;
    }
    this.block.insertAdjacentHTML('beforeend', html);
    this.length += html.length;
  }

  // Commands and reasons are short and stay whole; text may be cut after a line end.
  show(html) {
    const end = html.indexOf(NEWLINE);
    if (this.length > BLOCK && end >= 0 && !html.startsWith('<')) {
      this.append(html.slice(0, end + NEWLINE.length));
      this.block = null;
      html = html.slice(end + NEWLINE.length);
      if (!html) return;
    }
    this.append(html);
  }

  resized() {
    if (this.follows) this.pre.scrollTop = this.pre.scrollHeight;
    this.top = this.pre.scrollTop;
  }

  // Events come late: by then more output may have moved the end away, so the distance from it tells
  // nothing about the reader. The direction does: only a reader scrolls up.
  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.pre;
    const below = scrollHeight - scrollTop - clientHeight;
    if (scrollTop < this.top) this.follows = below < 2;
    else if (scrollTop > this.top && below < NEARLY * clientHeight) this.follows = true;
    this.top = scrollTop;
    this.pre.classList.toggle('follows', this.follows);
    if (this.follows) this.resized();
  }
}

const columns = [];

function show(at, html) {
  columns[at].show(html);
  document.currentScript.remove();
}

function ended(at, word) {
  setState(at, word, word);
  document.currentScript.remove();
}

function setState(at, word, kind) {
  const state = document.getElementById(`e${at}`);
  state.textContent = word;
  state.classList.add(kind);
}

// Sessions whose end has not come, when there will be none.
function cutOff(word) {
  for (const state of document.querySelectorAll('.state:empty')) setState(state.id.slice(1), word, 'cut');
  document.getElementById('stop').disabled = true;
}

// The panel remembers what was filled in, except for the password. A page with a query shows that
// instead.
function remember(panel) {
  const fields = [...panel.elements].filter((field) => field.name && field.type !== 'password');
  const key = 'socku-console';
  try {
    const kept = JSON.parse(localStorage.getItem(key)) || {};
    for (const field of location.search.length > 1 ? [] : fields) {
      const known = field.tagName !== 'SELECT' || [...field.options].some((option) => option.value === kept[field.name]);
      if (typeof kept[field.name] === 'string' && known) field.value = kept[field.name];
    }
  } catch (error) {
    // Nothing kept, or no storage for this page.
  }
  panel.addEventListener('submit', () => {
    try {
      localStorage.setItem(key, JSON.stringify(Object.fromEntries(fields.map((field) => [field.name, field.value]))));
    } catch (error) {
      // The query string has it all the same.
    }
  });
}

for (const pre of document.querySelectorAll('.sessions pre')) columns[pre.id.slice(1)] = new Column(pre);
// The console ends its sessions when it finds that nobody reads the page any more.
document.getElementById('stop')?.addEventListener('click', () => {
  cutOff('stopped');
  window.stop();
});
// The page is complete, or its connection broke.
if (columns.length) window.addEventListener('load', () => cutOff('cut off'));
remember(document.getElementById('panel'));
