// The report page comes to life: values under the pointer, and samples of any step. Without scripts it shows curves and the last samples.
'use strict';

function numbers(text) { return text.split(' ').map(Number); }
function nearest(items, place, wanted) {
  return items.reduce((a, b) => Math.abs(place(b) - wanted) < Math.abs(place(a) - wanted) ? b : a);
}
function element(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
}

const tip = element('div', '', document.body);
tip.className = 'tip';
tip.hidden = true;

// The chart's own coordinates are those of its polylines; data-plot (left, right, bottom, top) and data-x, data-y turn them into values.
for (const chart of document.querySelectorAll('.chart')) {
  const [left, right, bottom, top] = numbers(chart.dataset.plot), [x0, x1] = numbers(chart.dataset.x), [y0, y1] = numbers(chart.dataset.y);
  const cursor = chart.querySelector('.cursor');
  const xOf = x => x0 + (x - left) / (right - left) * (x1 - x0);
  const yOf = y => y0 + (bottom - y) / (bottom - top) * (y1 - y0);
  const text = x => chart.dataset.xName === 'step' ? Math.round(x) : Number(x.toPrecision(3));
  chart.onpointermove = event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    tip.replaceChildren();
    let place = at.x, distance = Infinity;
    const rows = [];
    for (const run of chart.querySelectorAll('g[data-name]')) {
      if (getComputedStyle(run).display === 'none') continue;
      const point = nearest([...run.querySelector('.line').points], p => p.x, at.x);
      rows.push([run, point]);
      if (Math.abs(point.x - at.x) < distance) { distance = Math.abs(point.x - at.x); place = point.x; }
    }
    if (!rows.length) return;
    element('div', chart.dataset.xName + ' ' + text(xOf(place)), tip);
    for (const [run, point] of rows) {
      if (Math.abs(point.x - place) > 12) continue;  // this run ended before
      const row = element('div', '', tip), swatch = element('span', '', row);
      swatch.className = 'swatch' + (run.classList.contains('dashed') ? ' dashed' : '');
      swatch.style.cssText = run.style.cssText;
      row.append(run.dataset.name);
      element('b', Number(yOf(point.y).toPrecision(4)), row);
    }
    cursor.setAttribute('x1', place);
    cursor.setAttribute('x2', place);
    cursor.style.display = 'inline';
    tip.hidden = false;
    const edge = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.min(event.pageX + 14, edge) + 'px';
    tip.style.top = event.pageY + 16 + 'px';
  };
  chart.onpointerleave = () => { cursor.style.display = 'none'; tip.hidden = true; };
}

// The slider goes over the steps that have samples; each run shows its nearest.
for (const moment of document.querySelectorAll('.moment')) {
  const slider = moment.querySelector('input'), steps = numbers(moment.dataset.steps);
  slider.max = steps.length - 1;
  slider.value = slider.max;
  slider.oninput = () => {
    const step = steps[slider.value];
    moment.querySelector('output').textContent = 'step ' + step;
    for (const figure of document.querySelectorAll('.samples figure')) {
      const images = [...figure.querySelectorAll('img')], shown = nearest(images, image => Number(image.dataset.step), step);
      for (const image of images) image.classList.toggle('shown', image === shown);
      figure.querySelector('figcaption span:last-child').textContent = 'after step ' + shown.dataset.step;
    }
  };
  slider.oninput();
  moment.hidden = steps.length < 2;
}
