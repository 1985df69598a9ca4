'use strict';
// Output arrives as `document.getElementById('s0').innerHTML += '...'`. As browsers have it, that
// serializes, parses and lays out the whole column again for each piece: 10 MiB would take
// minutes. In a streamed script a column therefore reads as empty and appends what it is set to;
// its lines go to blocks of bounded size, and blocks out of sight cost nothing. Read or set from
// anywhere else, innerHTML is what it always was.
const BLOCK = 32768;
const NEWLINE = '&NewLine;';
const innerHTML = Object.getOwnPropertyDescriptor(Element.prototype, 'innerHTML');

function teach(column) {
  let block = null;
  let length = 0;
  let follows = true;
  let scrolling = false;

  function append(html) {
    if (!block || length > 4 * BLOCK) {
      block = column.appendChild(document.createElement('div'));
      length = 0;
    }
    block.insertAdjacentHTML('beforeend', html);
    length += html.length;
  }

  // Commands and reasons are short and stay whole; text may be cut behind a line end.
  function appendLines(html) {
    const end = html.indexOf(NEWLINE);
    if (length > BLOCK && end >= 0 && !html.startsWith('<')) {
      append(html.slice(0, end + NEWLINE.length));
      block = null;
      html = html.slice(end + NEWLINE.length);
    }
    append(html);
  }

  function scroll() {
    scrolling = false;
    if (follows) column.scrollTop = column.scrollHeight;
  }

  Object.defineProperty(column, 'innerHTML', {
    get() {
      return document.currentScript ? '' : innerHTML.get.call(column);
    },
    set(html) {
      if (!document.currentScript) return innerHTML.set.call(column, html);
      appendLines(html);
      document.currentScript.remove();
      if (!scrolling) {
        scrolling = true;
        requestAnimationFrame(scroll);
      }
    },
  });
  // Whoever scrolls back to read is left in peace until the end is in sight again.
  column.addEventListener('scroll', () => {
    follows = column.scrollHeight - column.scrollTop - column.clientHeight < 40;
  });
}

function watchState(state) {
  new MutationObserver(() => {
    if (state.textContent) state.classList.add(state.textContent);
  }).observe(state, { childList: true });
}

// The panel remembers what was filled in. A page with a query shows that instead.
function remember(panel) {
  const fields = [...panel.elements].filter((field) => field.name);
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

document.querySelectorAll('.sessions pre').forEach(teach);
document.querySelectorAll('.state').forEach(watchState);
remember(document.getElementById('panel'));
